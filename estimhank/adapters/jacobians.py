"""Households that somebody else has solved, as part of a declared model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from estimhank.households.given import GivenJacobians
from estimhank.model.processes import is_number
from estimhank.parameters.parameter_table import ModelError, nearest


def from_jacobians(
    household_jacobians: Mapping[str, Mapping[str, Any]],
    inputs: Mapping[str, float],
    outputs: Mapping[str, float],
) -> GivenJacobians:
    """Households by their sequence-space Jacobians, to stand in a model's ``household``.

    Parameters
    ----------
    household_jacobians : mapping of mappings of array_like of shape (T, T)
        ``household_jacobians["C"]["r"][t, s]`` is the derivative of the aggregate output C at date t with respect to
        the input r at date s, announced at date 0; all outputs at the same T. An input that an output does not respond
        to may be left out. The sequence-jacobian toolkit's ``JacobianDict`` is of this form, and so are HARK's
        ``calc_jacobian`` by shocked parameter.
    inputs, outputs : mapping of str to float
        Steady-state values of the inputs and outputs at which the Jacobians were computed. The model's own steady state
        has to have the same inputs, and finds the outputs in ``household``.

    Returns
    -------
    GivenJacobians
        Of a model with it, no estimated parameter may move the steady state, and the horizon is at most T.

    Raises
    ------
    ModelError
        Names that do not fit each other; arrays that are no T x T numbers.
    """
    for what, given in (("inputs", inputs), ("outputs", outputs)):
        if not isinstance(given, Mapping) or not given:
            raise ModelError(f'{what} are steady-state values by name, {{"r": 0.005}}, not {given!r}')
        for name, value in given.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise ModelError(f"{what}: {name!r} is no name that equations can read by attribute")
            if not is_number(value):
                raise ModelError(f"the steady-state value of {name} is a number, not {value!r}")
    known = list(household_jacobians)
    for name in known:
        if name not in outputs:
            raise ModelError(f"Jacobians of '{name}', of which outputs gives no value{nearest(name, outputs)}")
        for by in household_jacobians[name]:
            if by not in inputs:
                raise ModelError(
                    f"the Jacobian of '{name}' with respect to '{by}', of which inputs gives no value"
                    f"{nearest(by, inputs)}"
                )
    for name in outputs:
        if name not in known or not len(household_jacobians[name]):
            raise ModelError(f"no Jacobian of the output '{name}'{nearest(name, known)}")
    arrays = {(o, i): _square(o, i, household_jacobians[o][i]) for o in outputs for i in household_jacobians[o]}
    for by in inputs:
        if not any(i == by for _, i in arrays):
            raise ModelError(f"no output has a Jacobian with respect to '{by}'{nearest(by, {i for _, i in arrays})}")
    sizes = {len(array) for array in arrays.values()}
    if len(sizes) > 1:
        raise ModelError(f"the Jacobians cover different numbers of dates: {', '.join(map(str, sorted(sizes)))}")
    none = np.zeros((sizes.pop(),) * 2)
    return GivenJacobians(
        np.array([[arrays.get((o, i), none) for i in inputs] for o in outputs]),
        {name: float(value) for name, value in inputs.items()},
        {name: float(value) for name, value in outputs.items()},
    )


def _square(output: str, by: str, given: Any) -> Any:
    try:
        array = np.asarray(given, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) < 3:
        raise ModelError(f"the Jacobian of '{output}' with respect to '{by}' is no array of T x T numbers")
    if not np.isfinite(array).all():
        raise ModelError(f"the Jacobian of '{output}' with respect to '{by}' has entries that are not finite")
    return array
