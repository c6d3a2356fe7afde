"""Write a thumbnail of every PNG and JPEG in a folder: ``python examples/thumbnails.py --help``."""

from pathlib import Path
from typing import Any

from tasks.api import (
    BadInput,
    Execution,
    InvalidInput,
    Item,
    NoParams,
    Problem,
    Stage,
    StageResult,
    Steps,
    Workspace,
    batch_flow,
    make_distinct_ids,
)


class Thumbnails(Stage):
    """Scales one image down to 128 pixels."""

    name = "thumbnails"
    version = 1

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the thumbnail; report the size of the original."""
        import cv2

        image = cv2.imread(str(work.input(item.inputs[0])))
        if image is None:
            raise BadInput(f"{item.title} is not an image")
        height, width = image.shape[:2]
        scale = 128 / max(height, width)
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(work.output(f"thumbnails/{item.id}.jpg")), small)
        return StageResult({"width": width, "height": height})


@batch_flow("thumbnails")
def thumbnails(images: Path, output_dir: Path, execution: Execution = Execution()) -> Steps:
    """Write a thumbnail of every PNG and JPEG in a folder.

    Args:
        images: Folder of the images
        output_dir: Folder for thumbnails/ and the report
        execution: Execution options
    """
    paths = [path.absolute() for path in sorted(images.glob("*")) if path.suffix.lower() in (".png", ".jpg", ".jpeg")]
    if not paths:
        raise InvalidInput([Problem("--images", f"no images in {images}", "a folder with PNG or JPEG files")])
    ids = make_distinct_ids([path.name for path in paths])
    items = [Item(key, inputs=(str(path),), name=path.name) for key, path in zip(ids, paths, strict=True)]

    def run_stage(run: Any) -> Any:
        run.stage(Thumbnails(NoParams()), items)
        return run.finish()

    return run_stage


if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("examples.thumbnails"))
