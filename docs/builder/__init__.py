"""Makes the site of docs/: ``make docs``. Nothing of it is installed."""
