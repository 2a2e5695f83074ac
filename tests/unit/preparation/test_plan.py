"""What is decided before a sound is decoded."""

import dataclasses
import random

import pytest

from coala_jax.preparation.plan import join_copies, make_plan
from coala_jax.preparation.settings import Settings
from coala_jax.preparation.table import Sound

SETTINGS = Settings("tiny", validation_fraction=0.25)


@pytest.mark.parametrize(
    ("groups", "contents", "joined"),
    [("abc", "123", "abc"), ("abc", "121", "aba"), ("abbc", "1233", "abbb"), ("aab", "111", "aaa"),
     ("cba", "112", "bba"), ("abbcd", "11224", "aaaad")],
    ids=["none", "a copy", "a group and a copy", "three", "the first name", "a chain"],
)  # fmt: skip
def test_groups_that_share_a_sound_become_one(groups: str, contents: str, joined: str) -> None:
    assert join_copies(list(groups), list(contents)) == list(joined)
    back = join_copies(list(groups)[::-1], list(contents)[::-1])
    assert back == list(joined)[::-1]


def sounds(count: int = 16) -> list[Sound]:
    return [
        Sound(f"{number:02d}.wav", (f"tag{number % 3}",), f"take{number // 2}", id=str(number))
        for number in range(count)
    ]


def plan(some: list[Sound], **changes: object):
    settings = dataclasses.replace(SETTINGS, **changes)
    return make_plan(len(some), some, settings, {sound.file: sound.file for sound in some})


def test_equal_files_are_one_group_on_one_side() -> None:
    some = sounds()
    for seed in range(5):
        settings = dataclasses.replace(SETTINGS, seed=seed)
        # Every sound of the first half has its copy in the second half, in another group.
        contents = {sound.file: str(number % 8) for number, sound in enumerate(some)}
        made = make_plan(len(some), some, settings, contents)
        train, validation = (
            {contents[sound.file] for sound in part} for part in made.sounds.values()
        )
        assert not train & validation
        groups = {sound.file: sound.group for part in made.sounds.values() for sound in part}
        assert groups["00.wav"] == groups["09.wav"] == "take0"


def test_the_order_of_the_rows_decides_nothing() -> None:
    some = sounds()
    for seed in range(3):
        shuffled = random.Random(seed).sample(some, len(some))
        again = plan(sorted(shuffled, key=lambda sound: sound.file))
        assert again == plan(some)
        sides = {name: {s.file for s in part} for name, part in plan(shuffled).sounds.items()}
        assert sides == {name: {s.file for s in part} for name, part in plan(some).sounds.items()}


def test_sounds_without_a_known_tag_are_not_decoded() -> None:
    some = [*sounds(), Sound("x.wav", ("rare",), "x"), Sound("y.wav", (), "y")]
    made = plan(some, min_tag_sounds=2)
    assert [sound.file for sound in made.untagged] == ["x.wav", "y.wav"]
    assert sum(map(len, made.sounds.values())) == 16
    assert made.tags_left_out["too_rare"] == 1


@pytest.mark.parametrize(
    ("records", "patches", "sizes"),
    [(5, 1, [5, 5, 2]), (12, 1, [12]), (13, 1, [12]), (6, 2, [3, 3, 3, 3]), (1, 3, [1] * 12)],
)
def test_shards_hold_about_so_many_records(records: int, patches: int, sizes: list[int]) -> None:
    made = plan(sounds())
    shards = made.shards("train", records, patches)
    assert [len(shard.sounds) for shard in shards] == sizes
    assert [sound for shard in shards for sound in shard.sounds] == list(made.sounds["train"])
    assert shards[-1].name.endswith(f"-{len(sizes) - 1:05d}-of-{len(sizes):05d}")


def test_what_leaves_nothing_is_refused() -> None:
    def refused(tags_of, **changes: object) -> str:
        with pytest.raises(ValueError) as error:
            plan([Sound(f"{n}.wav", tags_of(n), f"{n}") for n in range(10)], **changes)
        return str(error.value)

    assert "tag" in refused(lambda n: ())
    assert "tag" in refused(lambda n: ("all",))
    refused(lambda n: (f"t{n % 2}",), validation_fraction=0.1)  # one sound to validate on
    # An error page in place of a sound, in every folder, which makes one group of all.
    some = [*sounds(), *(Sound(f"bad{n}.wav", ("tag0",), f"take{n}") for n in range(8))]
    contents = {s.file: "page" if s.file.startswith("bad") else s.file for s in some}
    with pytest.raises(ValueError, match=r"bad0\.wav, bad1"):
        make_plan(len(some), some, SETTINGS, contents)
