"""What is segmented: one record a task with its classes, colours, region and kind of image."""
