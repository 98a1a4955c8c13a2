"""An alert's reason, in the field's words."""

from holter.alert import Kind
from holter.inference.decision.rules import FAST_SECONDS
from holter.inference.engine import Tick
from holter.signal.measures import PERIOD


def reason(kind: Kind, tick: Tick, row: int, seconds: int) -> str:
    """Why, for one row of a tick whose condition has held for `seconds`."""
    rhythm = tick.rhythm[row]
    rate, span = f"{round(float(rhythm['rate']))}/min", f"{max(seconds, 1)} s"
    match kind:
        case Kind.ASYSTOLE:
            return f"no QRS of 0.15 mV for {span}"
        case Kind.VENTRICULAR_FIBRILLATION:
            return f"disorganised ventricular rhythm for {span}"
        case Kind.VENTRICULAR_TACHYCARDIA:
            period = float(tick.extra[row, PERIOD])
            return f"wide-complex rhythm {round(60 / period) if period > 0 else 0}/min for {span}"
        case Kind.EXTREME_BRADYCARDIA | Kind.BRADYCARDIA:
            return f"heart rate {rate} for {span}"
        case Kind.EXTREME_TACHYCARDIA:
            return f"heart rate {rate}, QRS unlike the patient's own, for {span}"
        case Kind.TACHYCARDIA:
            if seconds < FAST_SECONDS:
                now, before = round(float(rhythm["rate_now"])), round(float(rhythm["rate_before"]))
                return f"heart rate {now}/min, suddenly from {before}/min"
            return f"heart rate {rate} for {span}"
        case Kind.VENTRICULAR_RUN:
            return f"run of {int(rhythm['run'])} ventricular beats at {round(float(rhythm['run_rate']))}/min"
        case Kind.ECTOPY:
            named = {"ventricular": int(rhythm["ventricular"]), "premature": int(rhythm["premature"])}
            return f"{' and '.join(f'{n} {name}' for name, n in named.items() if n)} beats in the last minute"
        case Kind.IRREGULAR_RHYTHM:
            return f"R-R irregular throughout the last {span}, {rate}"
        case Kind.ANOMALY:
            return "windows unlike the cohort's for a minute, and no rule to name them"
        case Kind.LEAD_OFF:
            return "the device reports its lead off"
        case Kind.ECG_LOST:
            return f"constant signal for {span}"
        case Kind.POOR_SIGNAL:
            return f"too noisy to judge (quality {float(tick.quality[row]):.2f})"
        case Kind.NO_DATA:
            return f"nothing received for {span}"
