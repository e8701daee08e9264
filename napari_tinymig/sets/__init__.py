"""Many images seen by one model: records, comparisons, what to annotate next, what-if."""
