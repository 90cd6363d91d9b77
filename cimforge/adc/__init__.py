"""Score against ADC resolution: dense and Monarch models through converters, cell by cell."""
