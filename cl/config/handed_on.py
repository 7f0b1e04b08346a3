"""What a line need not say, since a run says it: the settings of its file, its place by its id."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cl.config.datasets import kind_of, row_of, rows
from cl.config.encoders import is_foreign
from cl.config.evaluations import asking_for, built_in, expected_of, what_lacks
from cl.config.paths import exists, read_settings_file
from cl.config.programs import Linear, Pretrain, folder_of_runs
from cl.config.schema import as_words, options_of
from cl.config.store import ConfigError, values_from_json
from cl.config.words import FILES, config_file

# Settings that name a run, by its folder, a file in it, or its id.
RUNS = ("config", "verify", "resume_training_from", "pretrained_feature_extractor", "init_from")
ID = re.compile(r"\w[\w.-]*")
# What says which samples a run saw, and how they are read. Sizes and lengths are not among them:
# the file of weights says them.
OF_DATA = ("dataset", "data_folder", "train_dir", "val_dir", "class_list")
OF_DATA += ("image_column", "label_column", "label_separator", "value_range", "channels")
OF_DATA += ("exif_orientation", "max_pixels", "skip_corrupt")
POSITIONAL = {"dataset", "encoder"}
PLACES = ("data_folder", "class_list")  # of these, what is found from any folder
EVALUATIONS = "evaluations"  # in config.json: what the data as they were read can have
ASKED = {"eval", "mine", "export"}  # what says what is to be done with an encoder


def by_place(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the folders of runs that are called by their ids."""
    place = folder_of_runs(values.get("output"))
    found = {
        name: str(place / word)
        for name in RUNS
        if (word := values.get(name))
        and not exists(word)
        and ID.fullmatch(word)
        and (place / word).is_dir()
    }
    return {**values, **found}


def inherited(
    of: type[Pretrain | Linear],
    values: Mapping[str, Any],
    faults: list[str],
    ignored: dict[str, str],
) -> dict[str, Any]:
    """What the file of `--config` or of `--verify` hands on, or the run that is gone on with.

    Args:
        of: the program.
        values: of the line.
        faults: messages are added.
        ignored: settings that are not handed on, and why, are added.
    """
    flag = next((name for name in ("verify", "config") if values.get(name)), None)
    if flag is None and (run := values.get("resume_training_from")) and POSITIONAL - {*values}:
        flag, path = "resume_training_from", folder_around(run) / FILES["config"]
    elif flag is None:
        return {}
    else:
        path = config_file(flag, values[flag])
    try:
        theirs, found = values_from_json(read_settings_file(path))
    except ConfigError as error:
        faults += [f"--{flag} {path}: {text}" for text in error.args]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        faults.append(f"--{flag} must be a run's {FILES.get(flag, 'folder')}; {path}: {reason}.")
    else:
        if theirs is of:
            once = {name for name, o in options_of(of).items() if o.about.get("once")}
            if "batch_size" in values:  # which the line's own word is on
                once.add("global_batch_size")
            if "output" not in values and not is_at_home(found.get("output"), path):
                once.add("output")
                ignored["output"] = "only the config.json of a run in that folder hands on"
            if prompt_of_both(found, values):
                once.add("document_prompt")
            return {name: value for name, value in found.items() if name not in once}
        faults.append(f"--{flag} must be a file of this program; {path} is the other's.")
    return {}


def prompt_of_both(found: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a file has the prompt of queries again for documents, and the line has another one.

    A run of before wrote it so where both texts of a pair are of one kind.
    """
    dataset = values.get("dataset", found.get("dataset"))
    one_kind = isinstance(dataset, str) and row_of(dataset)["symmetric"]
    twice = found.get("document_prompt") == found.get("query_prompt")
    return bool(one_kind and twice and "query_prompt" in values)


def is_at_home(output: str | None, file: Path) -> bool:
    """Whether a folder of runs is the one in which the run with this file lies.

    So a run can be repeated beside itself, and a file from elsewhere chooses no folder.
    """
    if output is None:
        return True
    try:
        return Path(output).resolve() == file.resolve().parent.parent
    except ValueError:  # no name that a file can have
        return False


def folder_around(given: str) -> Path:
    """The folder of a run that is given by its folder or by a file in it."""
    path = Path(given)
    return path if path.is_dir() else path.parent


def of_pretraining(values: Mapping[str, Any], faults: list[str]) -> dict[str, Any]:
    """The encoder and the data set of the run that is evaluated, where the line names none.

    Also what its data can be evaluated by. A line with the run's data set and no encoder leaves to
    the run how that is read. What is no run of this program's hands on nothing, nor is code
    imported because a run names it.

    Args:
        values: of the line.
        faults: a message is added, where the line asks for no evaluation and none is possible.
    """
    run = values.get("pretrained_feature_extractor")
    found = pretraining_of(run) if run and POSITIONAL - {*values} else None
    if found is None:  # then the line has to name both
        return {}
    dataset, unsaid = found["dataset"], names_to_say(found["dataset"], found["encoder"])
    known = {} if "encoder" in unsaid else {"encoder": found["encoder"]}
    if values.get("dataset", None if "dataset" in unsaid else dataset) != dataset:
        return known
    known |= {name: found[name] for name in OF_DATA if name in found}
    evaluations = evaluations_in(found)
    if not evaluations and not ASKED & {*values}:
        lack = what_lacks(kind_of(dataset, found.get("data_folder", "")))
        faults.append(
            f"--pretrained_feature_extractor {run}: its data {dataset} have {lack}, name a DATASET "
            "to evaluate on, or cl-embed writes the features."
        )
    return known | ({"eval": evaluations} if asking_for(evaluations) else {})


def pretraining_of(run: str) -> dict[str, Any] | None:
    """The settings of a pretraining, with whole paths of its data; None of what is no such run.

    Beside them is what its data can be evaluated by.

    Args:
        run: its folder or a file in it.
    """
    try:
        text = read_settings_file(folder_around(run) / FILES["config"])
        program, found = values_from_json(text)
    except (OSError, ValueError):
        return None
    if program is not Pretrain:
        return None
    derived = json.loads(text).get("derived")
    derived = derived if isinstance(derived, dict) else {}
    return found | whole_places(derived) | {EVALUATIONS: derived.get(EVALUATIONS)}


def whole_places(derived: Mapping[str, Any]) -> dict[str, str]:
    """The whole paths of a run's data, which its settings may have from the folder it began in.

    Args:
        derived: what its config.json says beside the settings.
    """
    places = derived.get("places")
    found = places.items() if isinstance(places, dict) else ()
    return {k: v for k, v in found if k in PLACES and isinstance(v, str) and exists(v)}


def evaluations_in(found: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run's data can be evaluated by: as it was read, of an earlier run by its name.

    Args:
        found: see `pretraining_of`.
    """
    names = found[EVALUATIONS]
    if isinstance(names, list) and {*map(str, names)} <= {*built_in()}:
        return tuple(names)
    return expected_of(found["dataset"], found.get("data_folder", ""))


def data_places(config: Pretrain) -> dict[str, str]:
    """Where a run's data lies, as whole paths."""
    given = {name: getattr(config, name) for name in PLACES}
    return {name: str(Path(path).absolute()) for name, path in given.items() if path}


def names_to_say(dataset: str, encoder: str) -> tuple[str, ...]:
    """What a line has to name, since it may be code that nothing imports because a run names it.

    >>> names_to_say("cifar10", "resnet18"), names_to_say("flowers:read", "resnet18")
    ((), ('dataset',))
    """
    own = {"dataset": dataset.partition(":")[0] not in rows(), "encoder": is_foreign(encoder)}
    return tuple(name for name, code in own.items() if code)


def own_names(run: str, there: Mapping[str, Any]) -> str | None:
    """The message about what a run was trained with and a line has to name; None of no such run.

    Args:
        run: its folder or a file in it.
        there: the settings that are known.
    """
    found = pretraining_of(run) or {}
    names = names_to_say(found["dataset"], found["encoder"]) if found else ()
    lost = [f"{name.upper()} {found[name]}" for name in names if name not in there]
    if not lost:
        return None
    return f"name {' and '.join(lost)}: code is not imported because the run {run} has it."


def words_of_evaluation(config: Pretrain, run: Path, evaluations: Sequence[str] = ()) -> list[str]:
    """A line of `main_linear.py` that evaluates a run on its own data, as short as it can be.

    Args:
        config: of the run.
        run: its folder.
        evaluations: of its data, which its folder says too.
    """
    unsaid, words = names_to_say(config.dataset, config.encoder), list[str]()
    if unsaid:
        words = [config.dataset]
    if "encoder" in unsaid:  # a line with both names is whole
        words.append(config.encoder)
    words += ["--pretrained_feature_extractor", str(run)]
    options, places = options_of(Pretrain), whole_places({"places": data_places(config)})
    for name in OF_DATA[1:] if "encoder" in unsaid else ():
        if (value := getattr(config, name)) != options[name].default:
            words += as_words(name, places.get(name, value))
    return words + (asking_for(evaluations) if "encoder" in unsaid else [])
