"""Lower precision: typed fp16 files and INT8 files, each for one runtime, and what lets them be published."""
