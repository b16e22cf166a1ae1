"""The project's own errors.

None derives from `RuntimeError`: Qt's generator workers swallow those, so that a failed run
would look like one that never ends.
"""


class RednetError(Exception):
    """Base class of the errors that this package raises itself."""


class ModelError(RednetError):
    """A model is unknown, damaged, or made for another task."""


class DeviceMemoryError(RednetError):
    """The device has too little memory even for the smallest band."""


class TrainingError(RednetError):
    """Training cannot start or cannot go on."""


class ImageFileError(RednetError):
    """An image file cannot be read or written."""


class ReadError(ImageFileError):
    """A part of an image cannot be read, since its file is damaged or has changed."""


class BusyError(RednetError):
    """Another job is writing the same file or folder."""
