"""Compute the test metrics of a finished run, on its own or on other data."""

from typing import Any

from cnnlab.config.command import command
from cnnlab.reporting.tables import Table
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    from cnnlab.trained.evaluate import evaluate_request

    run = Run.chosen(config, needs_data=True, other_data=True)
    metrics = evaluate_request(run, config)
    if isinstance(metrics, Table):
        print(metrics)
        return
    for name, value in metrics.items():
        if not isinstance(value, dict):
            print(f"{name:<14} {value:.4f}" if isinstance(value, float) else f"{name:<14} {value:,}")
    for name, value in metrics["per_class"].items():
        print(f"  {name:<12} {value:.4f}")
    print(f"\nwritten to {run.directory / 'evaluate' / ((config.get('data') or run.config['data'])['name'] + '.json')}")


main = command("evaluate", _task)

if __name__ == "__main__":
    main()
