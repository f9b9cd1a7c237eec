"""The same two towers in TensorFlow Recommenders.

`benchmarks.quality.against_tfrs` runs this file in TensorFlow's environment, so it imports nothing of this project. It
reads arrays and writes vectors.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs


class Towers(tfrs.Model):
    """Each tower: embedding, square linear map, L2 norm. In-batch softmax with log-Q, accidental hits masked.

    The loss is the sum over the rows, which is the task's default.
    """

    def __init__(self, users: int, items: int, dim: int, temperature: float) -> None:
        super().__init__()
        self.user = self._tower(users, dim)
        self.item = self._tower(items, dim)
        self.task = tfrs.tasks.Retrieval(
            temperature=temperature,
            remove_accidental_hits=True,
        )

    @staticmethod
    def _tower(rows: int, dim: int) -> Any:
        return tf.keras.Sequential(
            [
                tf.keras.layers.Embedding(rows, dim, embeddings_initializer=tf.keras.initializers.RandomNormal(0, 0.1)),
                tf.keras.layers.Dense(dim, use_bias=False, kernel_initializer="identity"),
                tf.keras.layers.Lambda(lambda vectors: tf.math.l2_normalize(vectors, axis=1)),
            ]
        )

    def compute_loss(self, inputs: Any, training: bool = False) -> Any:
        user, item, share = inputs
        return self.task(
            self.user(user),
            self.item(item),
            candidate_ids=item,
            candidate_sampling_probability=share,
            compute_metrics=False,
        )


def main() -> None:
    settings = json.loads(sys.argv[1])
    tf.random.set_seed(settings["seed"])
    folder = Path(settings["folder"])
    data = np.load(folder / "clicks.npz")
    users, items, share = data["users"], data["items"], data["share"]
    rows = len(users)
    slices = (users, items, share[items].astype(np.float32))
    batches = tf.data.Dataset.from_tensor_slices(slices).shuffle(
        rows, seed=settings["seed"], reshuffle_each_iteration=True
    )
    batches = batches.batch(settings["batch"], drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    model = Towers(settings["users"], settings["items"], settings["dim"], settings["temperature"])
    model.compile(optimizer=tf.keras.optimizers.Adagrad(settings["learning_rate"]))
    model.fit(batches.take(3), verbose=0)  # traces the model before time is taken
    began = time.perf_counter()
    model.fit(batches, epochs=settings["epochs"], verbose=0)
    seconds = time.perf_counter() - began
    vectors = {
        "user": model.user(np.arange(settings["users"])).numpy(),
        "item": model.item(np.arange(settings["items"])).numpy(),
    }
    np.savez(folder / "tfrs.npz", **vectors)
    print(json.dumps({"rows_per_second": rows // settings["batch"] * settings["batch"] * settings["epochs"] / seconds}))


if __name__ == "__main__":
    main()
