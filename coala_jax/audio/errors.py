"""Why a file cannot become a waveform."""


class DecodeError(ValueError):
    """A file that cannot become a waveform; the message names file, cause and way out."""


class MissingFileError(DecodeError):
    """There is no such file, or it is a folder."""


class EmptyFileError(DecodeError):
    """The file has zero bytes."""


class NoSamplesError(DecodeError):
    """A sound of zero length, or too short for one sample at the new rate."""


class HeaderOnlyError(DecodeError):
    """The file ends with its header, or within it."""


class TruncatedError(DecodeError):
    """There is less sound than the header promises, or the mark of the end is missing."""


class SilentError(DecodeError):
    """Every sample is zero once the channels are averaged."""


class NotFiniteError(DecodeError):
    """Samples that are NaN, infinite or beyond 2**31."""


class WrongNameError(DecodeError):
    """The file holds no sound but a picture, a page, an archive, a text."""


class UnreadableError(DecodeError):
    """The system does not let it be read, no decoder knows it, or it is damaged."""


class MissingDecoderError(DecodeError):
    """WavPack, and no program that decodes it."""


class TooLongError(DecodeError):
    """The sound is longer than it may be."""


class SampleRateError(DecodeError):
    """The header's sample rate is none of sound."""
