"""Conditions that several options share: of which data sets or encoders they are."""

from cl.config import datasets
from cl.config.encoders import Transformers

OF_IMAGE_FILES = ("dataset", datasets.Having(("image_files",)))
OF_FOLDERS = ("dataset", datasets.Having(("class_folders",)))
OF_TABLES = ("dataset", datasets.Having(("image_columns",)))
OF_IMAGES = ("dataset", datasets.OfKind(("images",)))
WITH_IMAGES = ("dataset", datasets.OfKind(("images", "image-text")))
OF_PAIRS = ("dataset", datasets.OfKind(("text",)))
ONE_ENCODER = ("dataset", datasets.OfKind(("images", "text")))
WITH_TEXTS = ("dataset", datasets.OfKind(("text", "image-text")))
TRANSFORMER = ("text_encoder", Transformers())
