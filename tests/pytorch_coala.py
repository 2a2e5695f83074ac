"""COALA in PyTorch, written from the paper: what the JAX system is held to and timed against.

The weights' names are those of the released ones, whichever of the two truths is built;
`pytorch_weights` takes them to Flax and back. The losses are the textbook's (exp, sum, log), where
the JAX system works on logits and with log-sum-exp.
"""

import dataclasses

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from ml_collections import ConfigDict
from torch import Tensor, nn

Patches = Float[Tensor, "row mel time"]
Tags = Num[Tensor, "row tag"]
Vectors = Float[Tensor, "row latent"]


@dataclasses.dataclass
class Outputs:
    """None where the case has no such output.

    audio_aligned, tag_aligned: the aligned vectors (Eq. 8 and 9), not normalised.
    reconstruction, tag_probability: after their sigmoid.
    audio_latent, tag_latent: what the encoders give, the sound's in channel, mel, time order.
    """

    audio_latent: Vectors
    tag_latent: Vectors | None = None
    audio_aligned: Vectors | None = None
    tag_aligned: Vectors | None = None
    reconstruction: Patches | None = None
    tag_probability: Float[Tensor, "row tag"] | None = None


class TorchCoala(nn.Module):
    """The three cases (ae_c, e_c, cnn); takes the keys of `config.model` by their names.

    dropout_placement: "paper", after every ReLU; "released", not after the last ReLU of either
        decoder, and once more on the audio decoder's input.
    transform: "affine"; "linear", without bias and followed by dropout.
    """

    def __init__(
        self,
        case: str,
        tags: int,
        filters: int = 128,
        tag_hidden: int = 512,
        dropout_rate: float = 0.25,
        dropout_placement: str = "paper",
        transform: str = "affine",
    ) -> None:
        super().__init__()
        _check("case", case, ("ae_c", "e_c", "cnn"))
        _check("dropout_placement", dropout_placement, ("paper", "released"))
        _check("transform", transform, ("affine", "linear"))
        self.case = case
        latent = 3 * 3 * filters
        if case == "cnn":
            self.encoder = audio_encoder(filters, dropout_rate)
            self.fc = nn.Sequential(nn.Linear(latent, latent), nn.ReLU(), nn.Linear(latent, tags))
            return
        self.audio_encoder = audio_encoder(filters, dropout_rate)
        self.fc_audio = alignment(latent, dropout_rate, transform)
        self.tag_encoder = tag_encoder(tags, tag_hidden, latent, dropout_rate)
        self.fc_tag = alignment(latent, dropout_rate, transform)
        if case == "ae_c":
            self.audio_decoder = audio_decoder(filters, dropout_rate, dropout_placement)
            self.tag_decoder = tag_decoder(
                latent, tag_hidden, tags, dropout_rate, dropout_placement
            )

    @classmethod
    def of_config(cls, config: ConfigDict, tags: int) -> "TorchCoala":
        """The networks of a config; the pooling of clips is none of theirs."""
        settings = {name: value for name, value in config.model.items() if name != "pooling"}
        return cls(config.case, tags, **settings)

    def forward(self, patches: Patches, tags: Tags) -> Outputs:
        """Inputs of any kind of number: they are taken in the precision of the weights."""
        precision = next(self.parameters()).dtype
        images = patches[:, None].to(precision)
        if self.case == "cnn":
            latent = self.encoder(images)
            return Outputs(audio_latent=latent, tag_probability=self.fc(latent).sigmoid())
        audio_latent = self.audio_encoder(images)
        tag_latent = self.tag_encoder(tags.to(precision))
        outputs = Outputs(
            audio_latent=audio_latent,
            tag_latent=tag_latent,
            audio_aligned=self.fc_audio(audio_latent),
            tag_aligned=self.fc_tag(tag_latent),
        )
        if self.case == "ae_c":
            outputs.reconstruction = self.audio_decoder(audio_latent).squeeze(1)
            outputs.tag_probability = self.tag_decoder(tag_latent)
        return outputs


def audio_encoder(filters: int, rate: float) -> nn.Sequential:
    """[row, 1, 96, 96] -> [row, 9 * filters]."""
    layers: list[nn.Module] = []
    for channels in (1, filters, filters, filters, filters):
        convolution = nn.Conv2d(channels, filters, kernel_size=4, stride=2, padding=1)
        layers += [convolution, nn.BatchNorm2d(filters), nn.ReLU(), nn.Dropout(rate)]
    return nn.Sequential(*layers, nn.Flatten())


def audio_decoder(filters: int, rate: float, placement: str) -> nn.Sequential:
    """[row, 9 * filters] -> [row, 1, 96, 96] in (0, 1)."""

    def block(channels: int) -> list[nn.Module]:
        doubling = nn.ConvTranspose2d(filters, channels, kernel_size=4, stride=2, padding=1)
        return [doubling, nn.BatchNorm2d(channels)]

    return nn.Sequential(
        nn.Unflatten(1, (filters, 3, 3)),
        nn.Dropout(rate) if placement == "released" else nn.Identity(),
        *[*block(filters), nn.ReLU(), nn.Dropout(rate)],
        *[*block(filters), nn.ReLU(), nn.Dropout(rate)],
        *[*block(filters), nn.ReLU(), nn.Dropout(rate)],
        *[*block(filters), _last_relu(rate, placement)],
        *[*block(1), nn.Sigmoid()],
    )


def tag_encoder(tags: int, hidden: int, latent: int, rate: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, features in ((tags, hidden), (hidden, hidden), (hidden, latent)):
        norm = nn.BatchNorm1d(features)
        layers += [nn.Linear(inputs, features), norm, nn.ReLU(), nn.Dropout(rate)]
    return nn.Sequential(*layers)


def tag_decoder(latent: int, hidden: int, tags: int, rate: float, placement: str) -> nn.Sequential:
    return nn.Sequential(
        *[nn.Linear(latent, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(rate)],
        *[nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), _last_relu(rate, placement)],
        *[nn.Linear(hidden, tags), nn.BatchNorm1d(tags), nn.Sigmoid()],
    )


def alignment(latent: int, rate: float, transform: str) -> nn.Sequential:
    if transform == "affine":
        return nn.Sequential(nn.Linear(latent, latent))
    return nn.Sequential(nn.Linear(latent, latent, bias=False), nn.Dropout(rate))


def _last_relu(rate: float, placement: str) -> nn.Module:
    """A decoder's last ReLU, one place wide with dropout and without: the released names hold."""
    if placement == "released":
        return nn.ReLU()
    return nn.Sequential(nn.ReLU(), nn.Dropout(rate))


def _check(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")


# --- Losses ---------------------------------------------------------------------------------------

NT_XENT_OFFSET = 1e-5  # of the released code, inside the logarithm


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """The keys of `config.loss`, as the paper has them; `LossSettings(**config.loss)` takes them.

    contrastive: "cross_modal" (Eq. 10) or "nt_xent" (released).
    kl_offset: added inside both logarithms of the divergence; 1e-5 in the released code.
    reduction: "mean", the released one: the divergence summed over time, all else averaged; "sum".
    """

    audio_weight: float = 5.0
    tag_weight: float = 5.0
    contrastive_weight: float = 10.0
    temperature: float = 0.1
    contrastive: str = "cross_modal"
    kl_offset: float = 0.0
    reduction: str = "mean"
    equal_tags_are_negatives: bool = True

    def __post_init__(self) -> None:
        _check("contrastive", self.contrastive, ("cross_modal", "nt_xent"))
        _check("reduction", self.reduction, ("mean", "sum"))

    def weighted(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: getattr(self, name.replace("_loss", "_weight")) * value
            for name, value in values.items()
        }


def losses(
    outputs: Outputs, patches: Patches, tags: Tags, settings: LossSettings
) -> dict[str, Tensor]:
    """The losses that the case has (audio_loss, tag_loss, contrastive_loss) and their weighted sum.

    They are those of logits and log-sum-exp to rounding, except in these corners (figures are for
    float64, then for float32):

    tag_loss: an absent tag of logit z is off by about 1e-16 e^z (6e-8 e^z), for 1 - sigmoid(z) is
        rounded; from z = 37 (17) on it costs 100, PyTorch's bound, and has no gradient. A present
        one costs 100 below z = -100. The gradient of both fades beyond |z| = 27.6, since PyTorch
        takes p (1 - p) for 1e-12 at least.
    audio_loss: infinite, and its gradient NaN, for a logit under -709 (-88), where sigmoid is 0;
        with an offset it stays finite.
    contrastive_loss: exp overflows at temperatures under 1/709 (1/88).
    """
    values = {}
    if outputs.reconstruction is not None:
        values["audio_loss"] = generalized_kl(outputs.reconstruction, patches, settings)
    if outputs.tag_probability is not None:
        targets = tags.to(outputs.tag_probability.dtype)
        values["tag_loss"] = F.binary_cross_entropy(
            outputs.tag_probability, targets, reduction=settings.reduction
        )
    if outputs.audio_aligned is not None and outputs.tag_aligned is not None:
        function = {"cross_modal": cross_modal, "nt_xent": nt_xent}[settings.contrastive]
        rows = function(outputs.audio_aligned, outputs.tag_aligned, tags, settings)
        values["contrastive_loss"] = rows.sum() if settings.reduction == "sum" else rows.mean()
    return {**values, "loss": sum(settings.weighted(values).values())}


def generalized_kl(reconstruction: Patches, patches: Patches, settings: LossSettings) -> Tensor:
    """X log(X / Y) - X + Y (Eq. 4), with 0 log 0 = 0."""
    x, y, offset = patches.to(reconstruction.dtype), reconstruction, settings.kl_offset
    divergence = torch.xlogy(x, x + offset) - torch.xlogy(x, y + offset) - x + y
    if settings.reduction == "sum":
        return divergence.sum()
    return divergence.sum(dim=2).mean()


def cross_modal(audio: Vectors, tag: Vectors, tags: Tags, settings: LossSettings) -> Tensor:
    """Eq. 10 to 12, a value a row: its own tags over the tags of the others.

    Without others Eq. 10 is minus infinity; here the row is its own negative then, and costs 0.
    """
    similarity = similarities(audio, tag, settings.temperature)
    own = torch.eye(len(tags), dtype=torch.bool, device=tags.device)
    negatives = ~own
    if not settings.equal_tags_are_negatives:
        negatives &= ~same_tags(tags)
    negatives |= own & ~negatives.any(dim=1, keepdim=True)
    return -torch.log(similarity.diagonal() / (similarity * negatives).sum(dim=1))


def nt_xent(audio: Vectors, tag: Vectors, tags: Tags, settings: LossSettings) -> Tensor:
    """The released loss, a value for each of the 2N vectors: its partner over all the others."""
    rows = len(tags)
    vectors = torch.cat([audio, tag])
    similarity = similarities(vectors, vectors, settings.temperature)
    own = torch.eye(2 * rows, dtype=torch.bool, device=tags.device)
    partner = own.roll(rows, dims=0)
    others = ~own
    if not settings.equal_tags_are_negatives:
        others &= partner | ~same_tags(tags).repeat(2, 2)
    ratio = (similarity * partner).sum(dim=1) / (similarity * others).sum(dim=1)
    return -torch.log(ratio + NT_XENT_OFFSET)


def similarities(a: Vectors, b: Vectors, temperature: float) -> Float[Tensor, "row candidate"]:
    """Eq. 11 and 12."""
    cosines = F.normalize(a, eps=1e-12) @ F.normalize(b, eps=1e-12).T
    return torch.exp(cosines / temperature)


def same_tags(tags: Tags) -> Tensor:
    """[row, row]: whether two rows have the same tag set."""
    return (tags[:, None] == tags[None]).all(dim=2)


# --- Steps ----------------------------------------------------------------------------------------


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    patches: Patches,
    tags: Tags,
    settings: LossSettings,
) -> dict[str, Tensor]:
    """One step of a model in train mode; the losses before it stay on the device."""
    optimizer.zero_grad()
    values = losses(model(patches, tags), patches, tags, settings)
    values["loss"].backward()
    optimizer.step()
    return {name: value.detach() for name, value in values.items()}


def train_step_as_released(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    patches: Patches,
    tags: Tags,
    settings: LossSettings,
) -> dict[str, float]:
    """The same step as the released code takes it: a backward pass and a wait for each loss."""
    optimizer.zero_grad()
    values = losses(model(patches, tags), patches, tags, settings)
    parts = {name: value for name, value in values.items() if name != "loss"}
    for value in settings.weighted(parts).values():
        value.backward(retain_graph=True)
    optimizer.step()
    return {name: value.item() for name, value in values.items()}
