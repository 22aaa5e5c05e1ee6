"""``estimhank init``: a folder with a model of one's own that runs as it is."""

from __future__ import annotations

import csv
import importlib.util
import io
from pathlib import Path

from estimhank.data.series import SNAPSHOT_FILE
from estimhank.parameters.parameter_table import nearest
from estimhank.support.errors import ConfigError
from estimhank.support.files import expand_user, read_text, write_text
from estimhank.support.shipped import bundled

#: What a model can begin with.
TEMPLATES = ("rank", "one_asset", "two_types")

_SERIES = ("GDPC1", "GDPDEF", "FEDFUNDS")


def write_model(name: str, template: str = "one_asset", folder: Path | str = ".") -> list[Path]:
    """Write a model file, a configuration, data, a page and a test into a new folder.

    Parameters
    ----------
    name : str
        Of the folder, the file and, in other letters, the class.
    template : str
        One of :data:`TEMPLATES`.
    folder : path
        In which the new one is made.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ConfigError
        A name that Python cannot have, an unknown template, or a folder that is there already.
    """
    if not name.isidentifier() or name != name.lower():
        raise ConfigError(f"'{name}' cannot be a model's name: small letters, digits and underscores, such as my_model")
    if template not in TEMPLATES:
        known = ", ".join(TEMPLATES)
        raise ConfigError(f"there is no template '{template}'{nearest(template, TEMPLATES)} (there are {known})")
    target = Path(expand_user(folder)) / name
    if target.exists():
        raise ConfigError(f"{target} is there already: nothing was written")
    title = "".join(part.capitalize() for part in name.split("_"))
    spec = importlib.util.find_spec(f"estimhank.models.templates.{template}")
    assert spec is not None and spec.origin is not None
    model = read_text(spec.origin).replace("class Template", f"class {title}").replace('"template"', f'"{name}"')
    files = {
        f"{name}.py": model,
        f"{name}.toml": _CONFIGURATION.format(name=name, title=title),
        "data.csv": _data(),
        "README.md": _PAGE.format(name=name, title=title, template=template),
        f"test_{name}.py": _TEST.format(name=name, title=title),
    }
    target.mkdir(parents=True)
    return [write_text(target / file, text) for file, text in files.items()]


def _data() -> str:
    """The three series that templates observe, as the snapshot has them."""
    rows = csv.DictReader(io.StringIO(read_text(bundled(SNAPSHOT_FILE))))
    lines = [",".join(("date", *_SERIES))]
    lines += [",".join((row["observation_date"], *(row[s] for s in _SERIES))) for row in rows]
    return "\n".join(lines) + "\n"


_CONFIGURATION = """\
[model]
name = "{name}.py:{title}"        # file and class, relative to this file

[data]
source = "data.csv"               # put your own series in the place of these
start = "1984Q1"
end = "2007Q4"

# how each observable of the model is made from a series
[data.observables]
growth = {{ series = "GDPC1", transform = "log_difference", scale = 100, label = "GDP growth" }}
inflation = {{ series = "GDPDEF", transform = "log_difference", scale = 100, label = "inflation" }}
rate = {{ series = "FEDFUNDS", transform = "level", scale = 0.25, label = "policy rate" }}

# [parameters.phi_pi]
# prior = {{ family = "normal", mean = 1.5, sd = 0.25, lower = 1.0 }}   # another prior
# [parameters.rho_i]
# fixed = 0.7                                                           # not estimated
"""

_PAGE = """\
# {name}

Written by `estimhank init {name} --from {template}`. It runs as it is:

```sh
estimhank check {name}.toml          # steady state, residuals, determinacy, unused parameters, times
estimhank responses {name}.toml      # responses of every variable
estimhank estimate {name}.toml --profile smoke     # all stages in a minute or two, too few draws to use
estimhank estimate {name}.toml       # the posterior
pytest test_{name}.py
```

* `{name}.py`: the model. Change equations, variables and parameters; `estimhank check` says what
  does not fit, by name and line.
* `{name}.toml`: data, sample, priors.
* `data.csv`: US series from FRED (real GDP, its deflator, the federal funds rate). One row a quarter,
  dates as `2007-10-01` or `2007Q4`.
* `test_{name}.py`: the steady state holds, the model is determinate, the density is finite.
"""

_TEST = '''\
"""The model solves, is determinate at its own values, and its likelihood is a number with a gradient."""

from pathlib import Path

import numpy as np

from estimhank import Posterior

POSTERIOR = Posterior.from_config(Path(__file__).with_name("{name}.toml"))


def test_the_density_is_finite() -> None:
    evaluation = POSTERIOR.evaluate(POSTERIOR.reference(), gradient=True)
    assert evaluation.reason == "ok"
    assert np.isfinite(evaluation.log_density) and np.isfinite(evaluation.gradient).all()


def test_responses_die_out() -> None:
    responses = POSTERIOR.responses(POSTERIOR.reference())
    assert np.abs(responses[-1]).max() < 1e-2 * np.abs(responses).max()
'''
