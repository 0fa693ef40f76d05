"""`benchmarks/README.md`, its plot, `docs/results.md` and the README's figures, from the JSON in `benchmarks/results/`.

    python benchmarks/report.py

A benchmark without a result is listed as not measured. The README's part lies between the two comments
`<!-- figures from benchmarks/report.py -->` and `<!-- end of figures -->`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the scripts beside this one, wherever it is called from

import convert  # noqa: E402
import ddti  # noqa: E402
import gpu  # noqa: E402
import loader_report  # noqa: E402
import versions  # noqa: E402

from fastrad.controls import table as controls_table  # noqa: E402

BEGIN, END = "<!-- figures from benchmarks/report.py -->", "<!-- end of figures -->"

HEAD = """# Benchmarks

Made by `python benchmarks/report.py` from the JSON in [results/](results/); change the scripts or measure again, not
this page. Every script says in its first lines what it measures and how; contenders run in turns, each in fresh
processes; rates are medians, and each table has the limit beside them that the machine sets (bare copying, decoding,
resizing; a constant batch). The machines had two noisy cores: a rate holds for that machine, a share of a limit
travels further. Which versions, processor, arguments and commit a result was taken with stands in its JSON.
"""

# name -> (title, how to measure it)
BENCHMARKS = {
    "loaders": (
        "Loading",
        "benchmarks/peers.sh && .peers/bin/python benchmarks/loaders.py --folder WORK --source IMAGES",
    ),
    "first_batch": ("First batch of 1.35 million samples", "python benchmarks/first_batch.py --folder WORK"),
    "convert": ("Conversion", "python benchmarks/convert.py --folder WORK --peers .peers/bin/python"),
    "convert_scale": ("Conversion of 1.35 million rows", "python benchmarks/convert_scale.py --folder WORK"),
    "train": ("Training", "python benchmarks/train.py TRAIN.beton"),
    "recipe": ("Choices of the recipe", "python benchmarks/recipe.py TRAIN.beton VAL.beton"),
    "gpu": ("On a GPU", "python benchmarks/gpu.py TRAIN.beton"),
    "controls": ("Would a study show it? Positive and negative control", "fastrad controls OUT"),
    "versions": ("Is this version slower than the one before?", "python benchmarks/versions.py OLD NEW --rounds 5"),
}


def read(results: Path) -> dict[str, Any]:
    """The results that are there, by benchmark."""
    return {
        name: json.loads(loader_report.present_names(path.read_text()))
        for name in BENCHMARKS
        if (path := results / f"{name}.json").is_file()
    }


def page(found: dict[str, Any]) -> str:
    """The whole of benchmarks/README.md."""
    parts = [HEAD]
    for name, (title, command) in BENCHMARKS.items():
        parts.append(f"## {title}\n\n```sh\n{command}\n```\n")
        parts.append(SECTIONS[name](found[name]) if name in found else "Not measured yet.\n")
        if found.get(name, {}).get("note"):
            parts.append(f"Note: {found[name]['note']}.\n")
    return "\n".join(parts)


def loaders(result: dict) -> str:
    return f"![Images/s of each loader](results/loaders.svg)\n\n{loader_report.table(result)}\n"


def first_batch(result: dict) -> str:
    lines = ["| | median |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value:,.2f} |" for name, value in result["median"].items()]
    return "\n".join(lines) + "\n"


def convert_section(result: dict) -> str:
    return (
        f"{result['images']:,} gray PNG of {result['pixels'][0]} x {result['pixels'][1]}, {result['workers']} workers, "
        f"{result['rounds']} rounds.\n\n{convert.table(result['contenders'])}\n"
    )


def convert_scale(result: dict) -> str:
    workers = max(result["worker_peak_mib"])
    return (
        f"{result['rows']:,} rows: tables read in {result['seconds_to_read_tables']} s, planned in "
        f"{result['seconds_to_plan']} s, {result['images_per_second']:,} images/s (tiny images). Peak resident memory: "
        f"parent {result['parent_peak_mib']} MiB, workers at most {workers} MiB.\n"
    )


def train(result: dict) -> str:
    sizes = result["sizes"]
    names = list(dict.fromkeys(name for found in sizes.values() for name in found["variants"]))
    lines = [
        "| images/s, median (min to max) | " + " | ".join(f"{size} px" for size in sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for name in names:
        cells = []
        for found in sizes.values():
            rate = found["variants"].get(name)
            cells.append(f"{rate['median']} ({rate['minimum']} to {rate['maximum']})" if rate else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for title, key in (("real / constant batch", "real_to_constant"), ("real / plain recipe", "real_to_plain")):
        lines.append(f"| **{title}** | " + " | ".join(f"**{found[key]:.2f}**" for found in sizes.values()) + " |")
    lines += ["", "| one step's parts, ms | " + " | ".join(f"{size} px" for size in sizes) + " |"]
    lines.append("|---|" + "---|" * len(sizes))
    for part in next(iter(sizes.values()))["parts"]:
        lines.append(f"| {part} | " + " | ".join(f"{found['parts'][part]:g}" for found in sizes.values()) + " |")
    return "\n".join(lines) + "\n"


def recipe(result: dict) -> str:
    words = result["arguments"]
    lines = [
        f"{words['images']} images at {words['size']} px, {words['epochs']} epochs, {words['seeds']} seeds; the paired "
        "difference from the plain recipe and its standard error.",
        "",
        "| choice | macro AUROC | difference (SE) | balanced accuracy | difference (SE) | validation loss |",
        "|---|---|---|---|---|---|",
    ]
    for name, values in result["choices"].items():
        cells = []
        for metric in ("val_macro_auroc", "val_balanced_accuracy"):
            one = values[metric]
            error = "" if one["standard_error"] is None else f" ({one['standard_error']:.4f})"
            cells += [f"{one['mean']:.4f}", "" if name == "plain" else f"{one['difference']:+.4f}{error}"]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {values['val_loss']['mean']:.3f} |")
    return "\n".join(lines) + "\n"


def gpu_section(result: dict) -> str:
    return f"{result['device']}.\n\n{gpu.table(result)}\n"


def controls_section(result: dict) -> str:
    return f"{controls_table(result)}\n"


def versions_section(result: dict) -> str:
    return (
        f"{len(result['rounds'])} rounds of old, new and old again in fresh processes, in turns.\n\n"
        f"{versions.table(result['rounds'])}\n"
    )


SECTIONS = {
    "loaders": loaders,
    "first_batch": first_batch,
    "convert": convert_section,
    "convert_scale": convert_scale,
    "train": train,
    "recipe": recipe,
    "gpu": gpu_section,
    "controls": controls_section,
    "versions": versions_section,
}


def headline(found: dict[str, Any]) -> str:
    """The README's figures, a line each for what was measured."""
    lines = []
    if "loaders" in found:
        result = found["loaders"]
        cpu = {name: value for name, _, value in loader_report.goals(result, key="images_per_cpu_second")}
        time = {name: value for name, _, value in loader_report.goals(result)}
        lines.append(
            f"- Loading 224 px gray with crop and flip, images a CPU-second: {cpu['B / fastest peer']:.1f} times the "
            f"fastest stock peer, {cpu['B / stock FFCV']:.1f} times stock FFCV, {cpu['B / resize']:.1f} times bare "
            f"`cv2.resize`, from JPEG {cpu['JPEG B / decode']:.2f} of bare decoding; copying: {cpu['A / copy']:.2f} of "
            f"a bare copy, {cpu['A / fastest peer']:.1f} times the fastest peer. By the clock, two threads: "
            f"{time['B / fastest peer']:.1f}, {time['B / stock FFCV']:.1f}, {time['B / resize']:.1f}, "
            f"{time['JPEG B / decode']:.2f}; {time['A / copy']:.2f}, {time['A / fastest peer']:.1f}."
        )
    if "first_batch" in found:
        median = found["first_batch"]["median"]
        lines.append(f"- First batch of 1.35 million samples: {median['seconds']:.1f} s after `import torch`.")
    if "convert" in found:
        entries = found["convert"]["contenders"]
        rate = {name: entry["images_per_second"] for name, entry in entries.items() if "images_per_second" in entry}
        share = {name: f"{value / rate['decode']:.0%}" for name, value in rate.items()}
        of_both = {
            name: f"{rate[name] / rate['decode+encode']:.0%}" for name in ("fastrad shards", "litdata", "webdataset")
        }
        lines.append(
            f"- Conversion of 224 px PNG: raw at {share['fastrad raw']} of bare decoding, FFCV's own writer at "
            f"{share['ffcv rgb']}; as JPEG, shards at {of_both['fastrad shards']} of decode and encode, LitData at "
            f"{of_both['litdata']}, WebDataset at {of_both['webdataset']}."
        )
    if "convert_scale" in found:
        scale = found["convert_scale"]
        seconds = scale["seconds_to_read_tables"] + scale["seconds_to_plan"]
        lines.append(
            f"- 1.35 million rows are read and planned in {seconds:.0f} s, with {scale['parent_peak_mib']} MiB in the "
            f"parent and at most {max(scale['worker_peak_mib'])} MiB a worker."
        )
    if "train" in found:
        sizes = found["train"]["sizes"]
        ratios = ", ".join(f"{each['real_to_constant']:.2f} at {size} px" for size, each in sizes.items())
        plain = ", ".join(f"{each['real_to_plain']:.2f}" for each in sizes.values())
        lines.append(
            f"- Training on two cores over training on a constant batch: {ratios}; over the recipe that people write "
            f"(DataLoader, PNG, three channels): {plain} times."
        )
    if "controls" in found:
        contrasts = {f"{one['upper']} - {one['lower']}": one for one in found["controls"]["contrasts"]}
        limits = {name: f"{one['low']:+.3f} to {one['high']:+.3f}" for name, one in contrasts.items()}
        shown = {name: f"{one['difference']:+.3f} ({limits[name]})" for name, one in contrasts.items()}
        lines.append(
            "- Controls of the study on generated images, differences of AUROC: pretrained on the task itself minus "
            f"random weights {shown['same task - random']}, two random starts {shown['random again - random']}; "
            f"radiology minus natural pictures {shown['radiology - natural']}. They are about the method, not about "
            "patients: "
            + (
                "both controls passed."
                if found["controls"]["positive_control"] and found["controls"]["negative_control"]
                else "**a control failed** ([which, and what it means](docs/results.md#controls-on-generated-images))."
            )
        )
    return "\n".join(lines)


def results_page(results: Path) -> str:
    """The whole of docs/results.md."""
    study, controls = (results / f"{name}.json" for name in ("ddti", "controls"))
    found = [json.loads(path.read_text()) if path.is_file() else None for path in (study, controls)]
    return ddti.page(*found)


def put_into_readme(text: str, figures: str) -> str:
    """The README with the figures between its two comments."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{figures}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write everything anew."""
    found = read(HERE / "results")
    (HERE / "README.md").write_text(page(found))
    if "loaders" in found:
        loader_report.plot(found["loaders"], HERE / "results" / "loaders.svg")
    (HERE.parent / "docs" / "results.md").write_text(results_page(HERE / "results"))
    readme = HERE.parent / "README.md"
    readme.write_text(put_into_readme(readme.read_text(), headline(found)))


if __name__ == "__main__":
    main()
