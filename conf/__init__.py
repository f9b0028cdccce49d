"""The configuration: schemas, loader, provider, model and price tables, example files.

config = conf.load("dragoman.yaml")    # Config, or ConfigError with every problem as file:line:column: path: message
config = conf.zero(os.environ)         # without a file
"""

from .document import ConfigError, Problem
from .loader import load, loads, placed, zero
from .model import Config

__all__ = ["Config", "ConfigError", "Problem", "load", "loads", "placed", "zero"]
