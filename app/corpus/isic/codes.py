"""Coded concepts as sequence items (PS3.3 8.8)."""

from pydicom.dataset import Dataset

from app.corpus.isic.vocabulary import Code

YES_NO = {"YES": Code("SCT", "373066001", "Yes"), "NO": Code("SCT", "373067005", "No")}


def code_item(code: Code) -> Dataset:
    """Return the code as an item of a code sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme
    item.CodeMeaning = code.meaning
    return item


def context_item(concept: Code, value: Code) -> Dataset:
    """Return a coded name and value as an item of Acquisition Context (PS3.3 C.7.6.14)."""
    item = Dataset()
    item.ValueType = "CODE"
    item.ConceptNameCodeSequence = [code_item(concept)]
    item.ConceptCodeSequence = [code_item(value)]
    return item
