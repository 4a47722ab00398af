"""Every differentiable full-reference metric of piq as a similarity `piq-NAME`; needs `genbench[piq]`."""

from collections.abc import Iterable

import genbench
from genbench.errors import NotApplicable
from genbench_piq.catalogue import declared, installed


@genbench.hookimpl
def genbench_similarities() -> Iterable[genbench.SimilaritySpec]:
    """Declare what the installed piq has.

    Raises:
        NotApplicable: none is installed.
    """
    folder = installed()
    if folder is None:
        raise NotApplicable("piq is not installed", "`pip install 'genbench[piq]'`")
    for metric in declared(folder):
        yield genbench.SimilaritySpec(metric.name, metric.summary, metric.target, metric.settings_target, metric.needs)
