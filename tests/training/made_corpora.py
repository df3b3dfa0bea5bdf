"""Small made trees in the layouts of the corpora: the sound is noise, the names are what counts."""

from pathlib import Path

import numpy as np
import soundfile

EMPTY_SHA224 = "d14a028c2a3a2bc9476102bb288234c415a2b01f828ea62ac5b3e42f"
TREE = {
    "CREMA-D/AudioWAV": [
        "1015_DFA_ANG_XX.wav",
        "1021_IEO_FEA_HI.flac",
        "1001_TIE_NEU_XX.wav",
        "1001_TIE_HAP_LO.wav",
    ],
    "RAVDESS/Audio_Speech_Actors_01-24/Actor_03": ["03-01-06-02-01-01-03.wav", "03-01-02-01-01-01-03.wav"],
    "RAVDESS/Audio_Song_Actors_01-24/Actor_10": ["03-02-05-02-01-01-10.wav", "03-02-08-01-01-01-10.wav"],
    "TESS/OAF_fear": ["OAF_back_fear.wav", "OA_bite_neutral.wav"],
    "TESS/YAF_surprise": ["YAF_back_ps.wav"],
    "SAVEE/ALL": ["JE_a01.wav", "JE_sa01.wav", "DC_su02.wav", "DC_n30.wav"],
    "EMO-DB/wav": ["03a01Fa.wav", "09a01Wb.wav", "15b02Lc.wav", "16a02Ea.wav"],
    "nEMO/samples": ["MP0_anger_1.wav", "MK0_surprised_2.wav", "EB0_happiness_3.wav"],
    "ASED/05Angry": ["a5-01-01-01-01.wav", "a5-01-01-02-02.wav", "a5-01-02-02-07.wav"],
    "ASED/04Sad": ["S4-04-02-01-07.wav", "s4-04-01-01-07.wav"],
    "EmoSpeech-Command/House": [
        f"help-safe-calm-20190709085918-{EMPTY_SHA224}.wav",
        f"help-scream-fearful-20190709085919-{EMPTY_SHA224}.wav",
        f"background-scream-None-20190709085920-{EMPTY_SHA224}.wav",
        f"background-safe-calm-1561964985.253338-{EMPTY_SHA224}.wav",
        f"no-scream-calm-20190709085922_copy-{EMPTY_SHA224}.wav",
        "bacho-glass_break-fearful-20190709085923-0123abcd.wav",
    ],
    "IEMOCAP/Session5/sentences/wav/Ses05F_impro01": [
        "Ses05F_impro01_F000.wav",
        "Ses05F_impro01_M001.wav",
        "Ses05F_impro01_M002.wav",
    ],
    "IEMOCAP/Session1/sentences/wav/Ses01M_script01_1": ["Ses01M_script01_1_F003.wav"],
    "TORGO/F03/Session1/wav_headMic": ["0001.wav"],
    "TORGO/MC01/Session2/wav_arrayMic": ["0002.wav"],
    "Screams/scream": ["damm_0.wav", "damm_1.wav", "femaleScream-002.wav"],
    "Screams/other": ["clnsp1.wav"],
    "Nonverbal/screaming": ["2CVI_15_11_0_15_0_0_0.wav"],
    "Nonverbal/yawning": ["3JO1_5_12_0_23_0_0_0.wav"],
    "Background/ESC-10/001_-_Dog_bark": ["2-118072-A.wav", "3-118072-B.wav"],
    "Background/infant-cries/hungry": ["a7b13b65-da2c-48ec-8aed-46adcaba705f-1430823489236-1.7-f-26-hu.wav"],
    "Background/music-moh": ["macroform-cold_day.wav"],
    "Speech/prompts/es_MX_f_Allison": ["auth-thankyou.wav"],
    "Speech/read-en/librispeech_test-other/2033": ["2033-164914-0000.wav"],
    "Speech/wakewords/heycomputer/es": ["heycomputer-es-258d487d.wav"],
    "Own/anna/afraid": ["kitchen.wav"],
    "Own/anna/calm": ["kitchen2.wav"],
}
TABLES = {
    "CREMA-D/summaryTable.csv": (
        '"","FileName","VoiceVote"\n"1","1015_DFA_ANG_XX","A:D"\n"2","1021_IEO_FEA_HI","F"\n'
    ),
    "CREMA-D/VideoDemographics.csv": '"ActorID","Age","Sex"\n1015,32,"Male"\n1021,30,"Female"\n',
    "nEMO/data.tsv": "file_id\temotion\tspeaker_id\tgender\nMP0_anger_1.wav\tanger\t  MP0\tmale\n",
    "IEMOCAP/Session5/dialog/EmoEvaluation/Ses05F_impro01.txt": (
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        "[6.2901 - 8.2357]\tSes05F_impro01_F000\tfea\t[2.5000, 2.5000, 2.5000]\n"
        "C-E1:\tNeutral;\t()\n"
        "[10.0100 - 11.3925]\tSes05F_impro01_M001\texc\t[2.5000, 2.5000, 2.5000]\n"
        "[14.8872 - 18.0175]\tSes05F_impro01_M002\txxx\t[2.5000, 2.5000, 2.5000]\n"
    ),
    "IEMOCAP/Session1/dialog/EmoEvaluation/Ses01M_script01_1.txt": (
        "[6.2901 - 8.2357]\tSes01M_script01_1_F003\tfru\t[2.5000, 2.5000, 2.5000]\n"
    ),
    "TORGO/F03/Session1/prompts/0001.txt": "stick\n",
    "TORGO/MC01/Session2/prompts/0002.txt": "the quick brown fox\n",
}


def noise(seed: int, seconds: float = 0.4) -> np.ndarray:
    """int16 noise at 16 kHz, another for each seed."""
    return (
        (3000 * np.random.default_rng(seed).normal(size=int(16000 * seconds)))
        .clip(-32768, 32767)
        .astype(np.int16)
    )


def make(root: Path, only: tuple[str, ...] = ()) -> Path:
    """Write the made tree (or the corpora named) below `root`."""
    for number, (folder, names) in enumerate(TREE.items()):
        if only and folder.split("/")[0] not in only:
            continue
        (root / folder).mkdir(parents=True, exist_ok=True)
        for at, name in enumerate(names):
            soundfile.write(root / folder / name, noise(100 * number + at), 16000, subtype="PCM_16")
    for name, text in TABLES.items():
        if not only or name.split("/")[0] in only:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
    return root
