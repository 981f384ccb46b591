"""What the machine is and how it stands, read from files: Jetson module, JetPack, power mode, clocks."""
