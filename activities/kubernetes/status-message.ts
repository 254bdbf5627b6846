/** A message goes into plans, failures and the audit log: long enough for a sentence, too short for an object. */
const MAX_LENGTH = 1_000;

/** What the API server puts before the whole patched object when a patch makes it unreadable. */
const PATCHED_OBJECT = 'patch: Invalid value: ';

/** A refusal as the API server words it. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly message: string;
  /** Names of the fields that it is about. */
  readonly fields: readonly string[];
}

/**
 * What may be shown of a refusal. The API server quotes values in it: of a patch the whole object as it would be, so a
 * live Secret in clear. Of a Secret only reasons and names of fields are kept, of anything else all but whole objects.
 * @returns at most 1,000 characters
 */
export function safeMessage(refusal: Refusal, isSecret: boolean): string {
  if (refusal.message === '') return `the API server answered with status ${refusal.status}`;
  const text = withoutPatchedObject(refusal.message);
  return clip(isSecret ? aboutSecret(refusal, text) : withoutDumps(text), MAX_LENGTH);
}

/** A text of at most so many characters; one that was cut ends with `…`. */
export function clip(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength - 1)}…`;
}

function withoutPatchedObject(message: string): string {
  const start = message.indexOf(PATCHED_OBJECT);
  if (start < 0) return message;
  const end = endOfQuoted(message, start + PATCHED_OBJECT.length);
  const rest = message.slice(end).replace(/^: (strict decoding error: )?/, '');
  const isClean = rest !== '' && !rest.includes(PATCHED_OBJECT);
  return isClean ? rest : 'the patched object does not have the form of its kind';
}

/** Where the Go string that begins at `start` ends; the end of the text where none does. */
function endOfQuoted(text: string, start: number): number {
  if (text[start] !== '"') return text.length;
  for (let index = start + 1; index < text.length; index++) {
    if (text[index] === '\\') index++;
    else if (text[index] === '"') return index + 1;
  }
  return text.length;
}

/** Without Go values (of a field that has the wrong type) and the comparison of a Pod before and after. */
function withoutDumps(text: string): string {
  const [words = ''] = text.split('\n@@ ');
  return words.replace(/, got &.*$/gm, '');
}

/** Whole messages that hold no value: which right is missing, what is not there. */
const WITHOUT_VALUES = [
  /^\S+( "[^"]*")? is forbidden: User "[^"]*" cannot \w+ resource "[^"]*" in API group "[^"]*"/,
  /^\S+ "[^"]*" not found$/,
];

/** Parts of messages that name a field, a type or who refused, and no value. */
const NAMES = [
  /(?:unknown|duplicate) field "[^"]*"/g,
  /\.\S+: (?:field not declared in schema|expected \w+)/g,
  /Go struct field \S+ of type \S+/g,
  /illegal base64 data at input byte \d+/g,
  /admission webhook "[^"]*" denied the request/g,
  /ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request/g,
  /exceeded quota: [^\s,]+/g,
];

function aboutSecret({ status, reason, fields }: Refusal, text: string): string {
  for (const pattern of WITHOUT_VALUES) {
    const [whole] = pattern.exec(text) ?? [];
    if (whole !== undefined) return whole;
  }
  const [words = ''] = text.split(', got '); // what follows is a value
  const named = NAMES.flatMap((pattern) => words.match(pattern) ?? []);
  const about = named.length > 0 ? named : fields.filter((field) => field !== 'patch');
  const what = about.length > 0 ? `: ${[...new Set(about)].join(', ')}` : '';
  return `the API server answers ${reason || status}${what} (its words may quote the Secret and are left out)`;
}
