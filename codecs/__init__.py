"""The languages: pure translation between the three shapes. No I/O, no Tornado, no clock."""
