"""The prompted student: taught by simulated users to follow clicks, scribbles and boxes to any object."""
