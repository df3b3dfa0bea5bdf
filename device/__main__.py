"""`python -m device` is `outcry`."""

from device.cli import main

main()
