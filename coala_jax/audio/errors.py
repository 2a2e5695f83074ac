"""Why a file cannot become a waveform."""


class DecodeError(ValueError):
    """A file that cannot become a waveform; the message names the file, the cause and the fix."""


class MissingFileError(DecodeError):
    """There is no such file, or it is a folder."""


class EmptyFileError(DecodeError):
    """The file has zero bytes."""


class NoSamplesError(DecodeError):
    """A sound of zero length, or too short for one sample at the new rate."""


class TruncatedError(DecodeError):
    """The file has less sound than its header declares, or lacks the mark of its end."""


class SilentError(DecodeError):
    """Every sample is zero once the channels are averaged."""


class NotFiniteError(DecodeError):
    """Samples that are NaN, infinite or beyond 2**31."""


class TooLoudError(DecodeError):
    """The samples reach far beyond full scale, which is 1: they were never scaled to it."""


class WrongNameError(DecodeError):
    """The file holds a picture, a web page, an archive or a text, whatever its name says."""


class UnreadableError(DecodeError):
    """The file may not be read, no decoder knows it, or it is damaged."""


class MissingDecoderError(DecodeError):
    """The file is WavPack, and no program that decodes it is installed."""


class TooLongError(DecodeError):
    """The sound is longer than `max_seconds`."""


class SampleRateError(DecodeError):
    """The header's sample rate is outside 1 kHz to 1 MHz."""
