"""The fields of Prefect's form, from a flow's signature.

Prefect takes types, limits, patterns, defaults and the order of the fields from the signature, and descriptions from
the docstring. It labels each field by the name of its parameter, unless the type's JSON schema has a title.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import Field
from pydantic.fields import FieldInfo


def title_fields(signature: inspect.Signature) -> inspect.Signature:
    """Return ``signature`` with types whose JSON schemas have titles. Annotations must be evaluated."""
    return signature.replace(parameters=[_add_title(parameter) for parameter in signature.parameters.values()])


def get_title(parameter: inspect.Parameter) -> str:
    """Return the label of a parameter: the title of its annotation, or its name in words."""
    metadata = get_args(parameter.annotation)[1:] if get_origin(parameter.annotation) is Annotated else ()
    titles = [entry.title for entry in metadata if isinstance(entry, FieldInfo) and entry.title]
    return titles[-1] if titles else parameter.name.replace("_", " ").capitalize()


def get_annotations(signature: inspect.Signature) -> Mapping[str, Any]:
    """Return the annotations of all parameters of ``signature``, and of its result."""
    annotations = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
    return {**annotations, "return": signature.return_annotation}


def _add_title(parameter: inspect.Parameter) -> inspect.Parameter:
    titled = Field(json_schema_extra={"title": get_title(parameter)})
    return parameter.replace(annotation=Annotated[parameter.annotation, titled])
