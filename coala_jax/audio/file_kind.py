"""What a file that no decoder knows holds instead of sound: a picture, an archive, a text ..."""

from coala_jax.audio.declared_length import Bytes

_MAGIC = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\xff\xfe": "plain text",  # UTF-16; a rare mp3 begins so, but decodes
    b"\xfe\xff": "plain text",
}
_CONTROL_BYTES = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")


def not_sound(file: Bytes) -> str | None:
    """What the file holds, None where it may be sound; asked where libsndfile refuses a file."""
    file.seek(0)
    head = file.read(4096)
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name
    if not head or _CONTROL_BYTES & set(head):
        return None
    return (
        "an HTML page" if b"<html" in head.lower() or b"<!doctype" in head.lower() else "plain text"
    )
