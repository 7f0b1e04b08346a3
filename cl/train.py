"""From a configuration to a run: what the two programs do after their command line is checked."""

import inspect
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from rich.console import Console
from torch import nn

from cl import checkpoints, hardware, logs, preflight, runs
from cl.callbacks.bar import Bar, Lines
from cl.callbacks.geometry import Geometry
from cl.callbacks.saver import Saver
from cl.callbacks.stop import Stop
from cl.callbacks.watch import Watch
from cl.config import Linear, Pretrain
from cl.data import sources
from cl.data.module import ContrastiveData, plain_loader
from cl.data.recipe import Recipe
from cl.eval.baseline import Baseline, frozen, read
from cl.losses import get_loss
from cl.methods.barlow_twins import BarlowTwins
from cl.methods.base import Method
from cl.methods.simclr import SimCLR
from cl.methods.simsiam import SimSiam
from cl.methods.supcon import SupCon
from cl.nets import encoders
from cl.optim import Optimization
