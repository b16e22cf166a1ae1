"""RED-Net image restoration for napari and for scripts.

>>> import napari_rednet as nr
>>> restored = nr.denoise(noisy)  # doctest: +SKIP

Nothing heavy is imported until one of the names is used; they stand in the stub beside this file.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("napari-rednet")
