"""What everything else stands on: errors, the records that travel, geometry, files that survive a power cut."""
