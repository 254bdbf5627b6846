import { countrySpecs, validateIBAN, ValidationErrorsIBAN } from 'ibantools';

/** What a bank's own rules refuse may be a slip; a country, a length and a check digit that are right are no accident. */
const TOLERATED: readonly ValidationErrorsIBAN[] = [
  ValidationErrorsIBAN.WrongBBANFormat,
  ValidationErrorsIBAN.WrongAccountBankBranchChecksum,
];

/** How many characters an IBAN of a country has (ISO 13616); undefined where it has none. */
export function ibanLength(country: string): number | undefined {
  if (!Object.hasOwn(countrySpecs, country)) return undefined;
  return countrySpecs[country]?.chars ?? undefined;
}

/** @param iban capital letters and digits only */
export function isIban(iban: string): boolean {
  return validateIBAN(iban).errorCodes.every((code) => TOLERATED.includes(code));
}
