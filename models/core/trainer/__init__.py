"""One trainer for every model that torch fits: texts, rankings, whatever comes next.

from models.core.trainer.config import config_from
from models.core.trainer.loop import train
"""
