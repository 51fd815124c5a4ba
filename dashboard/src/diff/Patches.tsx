import { HEAD_BYTES, textOf } from "../preview/head";
import { PatchView } from "../preview/PatchView";
import { sizeText } from "../preview/sizes";
import { Problem } from "../ui/Problem";
import { useHead } from "../preview/useHead";
import styles from "./Patches.module.css";
import type { Comparison } from "./rows";

interface Props {
  comparison: Comparison;
  /** The runs whose patches are shown, one or two. */
  shown: readonly string[];
  onShow: (ids: readonly string[]) => void;
  onClose: () => void;
}

interface Choice {
  id: string;
  name: string;
  patch: { id: string; digest: string; sizeBytes: number };
}

/** What was not committed when runs began: one patch, or two side by side. */
export function Patches({ comparison, shown, onShow, onClose }: Props) {
  const choices = comparison.runs.flatMap(({ id, name }, run): Choice[] => {
    const patch = comparison.patches[run];
    return patch ? [{ id, name, patch }] : [];
  });
  const [left, right] = shown.map((id) => choices.find((choice) => choice.id === id));
  if (!left) {
    return <Problem title="There is no such patch" advice="Its run was clean, or what it changed was not uploaded." />;
  }
  const isSame = right?.patch.digest === left.patch.digest;
  return (
    <section className={styles.patches} aria-label="Patches">
      <header className={styles.bar}>
        <button type="button" onClick={onClose}>
          ‹ Differences
        </button>
        <RunChoice label="Patch of" choices={choices} value={left.id} onChange={(id) => onShow(right ? [id, right.id] : [id])} />
        {choices.length > 1 && <RunChoice label="beside" choices={choices} value={right?.id ?? ""} isOptional onChange={(id) => onShow(id ? [left.id, id] : [left.id])} />}
        {right && isSame && right.id !== left.id && <span className="muted">= identical bytes</span>}
      </header>
      <div className={right ? styles.two : styles.one}>
        <Patch key={left.patch.id} patch={left.patch} />
        {right && <Patch key={right.patch.id} patch={right.patch} />}
      </div>
    </section>
  );
}

interface ChoiceProps {
  label: string;
  choices: readonly Choice[];
  value: string;
  isOptional?: boolean;
  onChange: (id: string) => void;
}

function RunChoice({ label, choices, value, isOptional = false, onChange }: ChoiceProps) {
  return (
    <label className={styles.choice}>
      {label}
      <select value={value} onChange={(event) => onChange(event.target.value)}>
        {isOptional && <option value="">nothing</option>}
        {choices.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The patch that an artifact holds. */
export function Patch({ patch }: { patch: { id: string; sizeBytes: number } }) {
  const { head, failure } = useHead(patch, HEAD_BYTES);
  return (
    <div className={styles.patch}>
      {failure !== null && <p role="alert">{failure}</p>}
      {failure === null && head === null && <p className="muted">Reading…</p>}
      {head && <PatchView patch={textOf(head)} />}
      {head && !head.isWhole && (
        <p className="muted">
          The first {sizeText(HEAD_BYTES)} of {sizeText(patch.sizeBytes)}.
        </p>
      )}
    </div>
  );
}
