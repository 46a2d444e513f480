"""What `longwire template` writes, linted, packed and deployed to an emulator of AWS."""
