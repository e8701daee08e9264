"""The slices of DICOM objects: decoded in their true colours, and in order along their normal."""
