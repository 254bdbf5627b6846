import { parseJsonPath, valuesAt } from '../../domain/json-path.ts';
import type { AwaitedState } from '../../domain/wpk.ts';
import { failed, type Health, progressing, READY } from './health.ts';
import { at, type KubeObject } from './kube-object.ts';

type Particular = Exclude<AwaitedState, string>;

/** Whether a live object is as a `wait` wants it, by the rules of `kubectl wait` (kubectl `pkg/cmd/wait`). */
export function stateOf(live: KubeObject, wanted: Particular): Health {
  return 'condition' in wanted ? conditionOf(live, wanted) : valueOf(live, wanted);
}

/** A condition that is about an older generation says nothing about this one. */
function conditionOf(
  live: KubeObject,
  { condition, status = 'True' }: Extract<Particular, { condition: string }>,
): Health {
  const conditions = at(live, 'status', 'conditions');
  const found: unknown = Array.isArray(conditions) && conditions.find((one) => sameFolded(at(one, 'type'), condition));
  if (!found) return progressing(`it has no condition ${condition}`);
  const observed = at(found, 'observedGeneration') ?? at(live, 'status', 'observedGeneration');
  const { generation } = live.metadata;
  if (typeof observed === 'number' && generation !== undefined && observed < generation) {
    return progressing('its controller has not seen the change yet');
  }
  if (sameFolded(at(found, 'status'), status)) return READY;
  const message = at(found, 'message');
  const why = typeof message === 'string' && message !== '' ? `: ${message}` : '';
  return progressing(`its condition ${condition} is ${String(at(found, 'status'))}, not ${status}${why}`);
}

/** Says nothing of the value that is there: it may be one of a Secret. */
function valueOf(live: KubeObject, { jsonPath, equals }: Extract<Particular, { jsonPath: string }>): Health {
  const values = valuesAt(live, parseJsonPath(jsonPath) ?? []); // the schema took it
  const [value] = values;
  if (values.length > 1) return failed(`${jsonPath} leads to ${values.length} values, and only one can be compared`);
  if (typeof value === 'object' && value !== null) return failed(`${jsonPath} leads to an object or a list`);
  if (value === undefined) return progressing(`${jsonPath} is not there`);
  return String(value).trim() === equals.trim() ? READY : progressing(`${jsonPath} is not ${equals}`);
}

function sameFolded(a: unknown, b: string): boolean {
  return typeof a === 'string' && a.toLowerCase() === b.toLowerCase();
}
