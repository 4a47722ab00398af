"""Names and places of all checks, by the kind of what they check, in the order in which they are carried out.

Imports nothing.
"""

SUBJECTS = {
    "similarity": "genbench.testing.similarities:SimilaritySubject",
    "model": "genbench.testing.models:ModelSubject",
    "evaluator": "genbench.testing.evaluators:EvaluatorSubject",
    "dataset": "genbench.testing.datasets:DatasetSubject",
    "extractor": "genbench.testing.extractors:ExtractorSubject",
}
"""Place of the class whose objects a kind's checks are given."""

SECTIONS = {
    "similarity": "similarity",
    "model": "model",
    "evaluator": "evaluation",
    "dataset": "dataset",
    "extractor": None,
}
"""Section of a kind's own settings, as `genbench run -s` has it; extractors have none."""

BUILDS = "builds"
"""Name of the check that comes before all others, for each kind: where it does not pass, they are skipped."""

CHECKS: dict[str, tuple[tuple[str, str], ...]] = {
    "similarity": (
        ("shape", "genbench.testing.similarities_values:shape"),
        ("dtype", "genbench.testing.similarities_values:dtype"),
        ("finite", "genbench.testing.similarities_values:finite"),
        ("least for itself", "genbench.testing.similarities_values:least"),
        ("worse costs more", "genbench.testing.similarities_values:graded"),
        ("strongest distortion", "genbench.testing.similarities_values:strongest"),
        ("gradient", "genbench.testing.similarities_gradients:present"),
        ("gradient at itself", "genbench.testing.similarities_gradients:at_itself"),
        ("gradient anywhere", "genbench.testing.similarities_gradients:where_formulas_break"),
        ("finite differences", "genbench.testing.similarities_gradients:differences"),
        ("batch size", "genbench.testing.similarities_conduct:batch"),
        ("order", "genbench.testing.similarities_conduct:order"),
        ("nothing in place", "genbench.testing.similarities_conduct:in_place"),
        ("random state", "genbench.testing.similarities_conduct:random_state"),
        ("deterministic", "genbench.testing.similarities_conduct:deterministic"),
        ("inference mode", "genbench.testing.similarities_conduct:without_gradients"),
        ("sizes", "genbench.testing.similarities_needs:sizes"),
        ("channels", "genbench.testing.similarities_needs:channels"),
        ("discriminator", "genbench.testing.similarities_needs:discriminator"),
        ("settings", "genbench.testing.similarities_needs:settings"),
        ("facts", "genbench.testing.similarities_needs:facts"),
        ("nothing to train", "genbench.testing.similarities_needs:nothing_to_train"),
        ("scale", "genbench.testing.similarities_needs:scale"),
        ("autocast", "genbench.testing.similarities_devices:autocast"),
        ("channels_last", "genbench.testing.similarities_devices:channels_last"),
        ("no values read", "genbench.testing.similarities_devices:no_values"),
        ("device", "genbench.testing.similarities_devices:device"),
        ("cuda graph", "genbench.testing.similarities_devices:graph"),
        ("cost", "genbench.testing.similarities_cost:cost"),
    ),
    "model": (
        ("losses", "genbench.testing.models:losses"),
        ("networks move", "genbench.testing.models:moves"),
        ("gradient routing", "genbench.testing.models:routing"),
        ("samples", "genbench.testing.models:samples"),
        ("same seed", "genbench.testing.models:same_seed"),
        ("random state", "genbench.testing.models:noise"),
        ("nothing in place", "genbench.testing.models:in_place"),
        ("encoder", "genbench.testing.models:encoder"),
        ("evaluation mode", "genbench.testing.models:evaluation_mode"),
        ("state", "genbench.testing.models:state"),
        ("resuming", "genbench.testing.models:resuming"),
        ("sizes", "genbench.testing.models:sizes"),
        ("phase", "genbench.testing.models:phases"),
        ("similarity", "genbench.testing.models:similarity"),
        ("discriminator", "genbench.testing.models:discriminator"),
        ("bfloat16", "genbench.testing.models:half_precision"),
        ("device", "genbench.testing.models:device"),
    ),
    "evaluator": (
        ("results", "genbench.testing.evaluators:results"),
        ("protocol", "genbench.testing.evaluators:protocol"),
        ("settings", "genbench.testing.evaluators:settings"),
        ("sampled", "genbench.testing.evaluators:sampled"),
        ("direction", "genbench.testing.evaluators:direction"),
        ("batch size", "genbench.testing.evaluators:batch_size"),
        ("order", "genbench.testing.evaluators:order"),
        ("random state", "genbench.testing.evaluators:random_state"),
        ("nothing in place", "genbench.testing.evaluators:untouched"),
        ("not applicable", "genbench.testing.evaluators:elsewhere"),
        ("device", "genbench.testing.evaluators:device"),
    ),
    "dataset": (
        ("defaults", "genbench.testing.datasets:defaults"),
        ("missing files", "genbench.testing.datasets:missing"),
        ("images", "genbench.testing.datasets:images"),
        ("splits", "genbench.testing.datasets:splits"),
        ("disjoint", "genbench.testing.datasets:disjoint"),
        ("attributes", "genbench.testing.datasets:attributes"),
        ("facts", "genbench.testing.datasets:facts"),
        ("sizes", "genbench.testing.datasets:sizes"),
        ("stable", "genbench.testing.datasets:stable"),
        ("order of files", "genbench.testing.datasets:order_of_files"),
        ("counterfactuals", "genbench.testing.datasets:counterfactuals"),
    ),
    "extractor": (
        ("features", "genbench.testing.extractors:features"),
        ("grey", "genbench.testing.extractors:grey"),
        ("tells apart", "genbench.testing.extractors:tells_apart"),
        ("batch", "genbench.testing.extractors:batch"),
        ("deterministic", "genbench.testing.extractors:deterministic"),
        ("random state", "genbench.testing.extractors:random_state"),
        ("nothing in place", "genbench.testing.extractors:in_place"),
        ("facts", "genbench.testing.extractors:facts"),
        ("warnings", "genbench.testing.extractors:warnings"),
        ("device", "genbench.testing.extractors:device"),
    ),
}
"""Name and place of each check."""
