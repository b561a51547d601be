"""Write the report of a study or a search, even of an unfinished one, or compare any runs side by side."""

from pathlib import Path
from typing import Any

from cnnlab.config.command import command
from cnnlab.reporting.report import report, report_runs
from cnnlab.runs.record import Record


def _task(config: dict[str, Any]) -> None:
    if bool(config["study"]) == bool(config["runs"]):
        raise ValueError("give either study=DIR or runs=[DIR,DIR,...]")
    if config["study"] and config["output"]:
        raise ValueError(f"output={config['output']} is for runs=[...]; the report of a study goes into its directory")
    if config["study"]:
        print(report(Path(str(config["study"]))))
        return
    given = config["runs"] if isinstance(config["runs"], list) else [config["runs"]]
    print(report_runs([Record.load(directory) for directory in given], Path(config["output"] or "outputs/reports")))


main = command("report", _task)

if __name__ == "__main__":
    main()
