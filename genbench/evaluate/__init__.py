"""What evaluators see: the context, extractors, reference statistics, the attribute classifier."""
