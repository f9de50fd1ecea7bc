"""Source -> schema -> screen -> split -> sealed data set. The order is in `stage.py`."""
