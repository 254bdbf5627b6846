import type { KubeObject } from '../../../activities/kubernetes/kube-object.ts';
import { at } from '../../../activities/kubernetes/kube-object.ts';
import { badRequest } from './refusal.ts';

/**
 * Whether an object is what a query selects (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/).
 * @throws {Refusal} 400 for what is no selector
 */
export function selects(query: URLSearchParams): (object: KubeObject) => boolean {
  const byLabels = requirements(query.get('labelSelector') ?? '');
  const byFields = (query.get('fieldSelector') ?? '').split(',').filter((term) => term !== '');
  return (object) => {
    const labels = object.metadata.labels ?? {};
    return byLabels.every((holds) => holds(labels)) && byFields.every((term) => fieldHolds(object, term));
  };
}

type Labels = Readonly<Record<string, string>>;

const TERM = /^\s*(?:(!)\s*([\w./-]+)|([\w./-]+)(?:\s*(==|=|!=)\s*([\w.-]*)|\s+(in|notin)\s*\(([^)]*)\))?)\s*$/;

function requirements(selector: string): ((labels: Labels) => boolean)[] {
  if (selector.trim() === '') return [];
  return selector.split(/,(?![^(]*\))/).map((term) => {
    const [, not, absent = '', key = '', operator, value = '', set, list = ''] = TERM.exec(term) ?? [];
    if (key === '' && absent === '') throw badRequest(`unable to parse requirement: ${term}`);
    if (not) return (labels) => !Object.hasOwn(labels, absent);
    if (operator === '!=') return (labels) => labels[key] !== value;
    if (operator) return (labels) => labels[key] === value;
    const values = list.split(',').map((one) => one.trim());
    if (set === 'in') return (labels) => Object.hasOwn(labels, key) && values.includes(labels[key] ?? '');
    if (set === 'notin') return (labels) => !values.includes(labels[key] ?? '');
    return (labels) => Object.hasOwn(labels, key);
  });
}

function fieldHolds(object: KubeObject, term: string): boolean {
  const [, path = '', operator, wanted = ''] = /^([^!=]+)(!=|==?)(.*)$/.exec(term) ?? [];
  const found = at(object, ...path.split('.')) ?? '';
  return (String(found) === wanted) === (operator !== '!=');
}
