"""Flags of texts and of images, and what differs by default where texts are compared."""

import pytest

from cl.config import ConfigError, Pretrain, from_json, parse_linear, parse_pretrain, to_json

TEXT_LINE = ["wordnet", "bag_w16"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*TEXT_LINE, "--recipe", "byol"], "--recipe needs a DATASET of images or image-text."),
        ([*TEXT_LINE, "--brightness", "0.1"], "--brightness needs a DATASET of images"),
        ([*TEXT_LINE, "--crop_size", "32"], "--crop_size needs a DATASET of images"),
        ([*TEXT_LINE, "--n_crops", "3"], "--n_crops needs a DATASET of images."),
        ([*TEXT_LINE, "--image_size", "32"], "--image_size needs a DATASET of images"),
        ([*TEXT_LINE, "--dali"], "--backend needs a DATASET of images"),
        ([*TEXT_LINE, "--show_views", "a.png"], "--show_views needs a DATASET of images."),
        ([*TEXT_LINE, "--num_workers", "2"], "--num_workers needs a DATASET of images"),
        ([*TEXT_LINE, "--no-channels_last"], "--channels_last needs a DATASET of images"),
        ([*TEXT_LINE, "--classifier_lr", "0.1"], "--classifier_lr needs a DATASET of images."),
        ([*TEXT_LINE, "--hard_negatives", "2"], "--hard_negatives needs --loss mnrl."),
        (["wordnet", "resnet18"], "ENCODER resnet18 takes images, but DATASET wordnet has text."),
        (["digits", "bag_w16"], "ENCODER bag_w16 takes text, but DATASET digits has images."),
        (["wordnet", "bag_w0"], "ENCODER bag_w0 takes images"),
        (["digits", "resnet18", "--max_length", "9", "9"], "--max_length needs a DATASET of text"),
        (["digits", "resnet18", "--hard_negatives", "2"], "--hard_negatives needs a DATASET of t"),
    ],
)
def test_what_images_and_texts_have_no_use_for(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_pretrain(words)
    assert said in str(error.value)


def test_texts_are_compared_without_a_projector_and_by_their_documents() -> None:
    settings = parse_pretrain(TEXT_LINE).method_settings
    assert (settings["hidden_mlp"], settings["supervised"]) == (0, True)
    words = [*TEXT_LINE, "--hidden_mlp", "2048", "--no-supervised"]
    given = parse_pretrain(words)
    assert (given.method_settings["hidden_mlp"], given.method_settings["supervised"]) == (
        2048,
        False,
    )
    again = from_json(to_json(given))
    assert isinstance(again, Pretrain)
    assert again.method_settings == given.method_settings
    digits = parse_pretrain(["digits", "resnet18"]).method_settings
    assert (digits["hidden_mlp"], digits["supervised"]) == (2048, False)
    assert parse_pretrain([*TEXT_LINE, "--method", "byol"]).method_settings["hidden_mlp"] == 2048


def test_mining_trains_nothing(capsys: pytest.CaptureFixture) -> None:
    line = [*TEXT_LINE, "--pretrained_feature_extractor", ".", "--mine", "mined.jsonl"]
    parse_linear([*line, "--epochs", "5"])
    assert "ignored --epochs, which cannot be used with --mine" in capsys.readouterr().err
