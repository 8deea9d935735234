"""The errors of visavis, split by who can act.

    VisavisError
    ├── UsageError            you gave something that cannot be used; the message says what was
    │   │                     expected, what came, and what to do (command line: status 2)
    │   ├── TextError         text to be spoken or encoded
    │   ├── TokenError        ids outside a vocabulary or codebook
    │   ├── FileFormatError   a file that is not what it should be
    │   ├── PersonaError      a persona file
    │   ├── LexiconError      a gesture or library entry
    │   ├── FingerprintError  weights, vocabulary and library that do not belong together
    │   └── MissingExtraError an optional part is not installed; names the exact `pip install`
    └── ServiceError          the world failed: a server, a worker process, a disk (status 1)
        ├── VoiceError        the voice could not speak
        └── StoreError        conversations could not be kept or read

Inner invariants are asserts; a model's mistake is data for the next step, never an exception.
"""

__all__ = [
    "FileFormatError",
    "FingerprintError",
    "LexiconError",
    "MissingExtraError",
    "PersonaError",
    "ServiceError",
    "StoreError",
    "TextError",
    "TokenError",
    "UsageError",
    "VisavisError",
    "VoiceError",
]


class VisavisError(Exception):
    """Base of every error that visavis raises on purpose."""


class UsageError(VisavisError):
    """The caller gave something that cannot be used."""


class TextError(UsageError):
    """Text that cannot be spoken or encoded."""


class TokenError(UsageError):
    """Ids outside a vocabulary or codebook, or a sequence that is not in the turn language."""


class FileFormatError(UsageError):
    """A file that is not what it should be."""


class PersonaError(UsageError):
    """A persona that cannot be read."""


class LexiconError(UsageError):
    """A gesture or a library entry that cannot be used."""


class FingerprintError(UsageError):
    """Parts that were not made for each other."""


class MissingExtraError(UsageError):
    """An optional part is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        """`what` needs the optional `extra`; the message names the command that brings it."""
        self.extra = extra
        super().__init__(f"{what} needs the extra '{extra}': pip install 'visavis[{extra}]'")


class ServiceError(VisavisError):
    """Something outside failed: a server, a worker process, a disk."""


class VoiceError(ServiceError):
    """The voice could not speak."""


class StoreError(ServiceError):
    """Conversations could not be kept or read."""
