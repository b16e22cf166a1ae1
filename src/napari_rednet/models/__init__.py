"""The available models, and the files that hold them.

Nothing heavy is imported until one of the names is used; they stand in the stub beside this file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
