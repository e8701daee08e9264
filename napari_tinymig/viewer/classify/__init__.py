"""The Classify panel: teach a frozen backbone your classes."""
