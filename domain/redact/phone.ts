import type { CountryCode } from 'libphonenumber-js/min';
import { getCountryCallingCode, isSupportedCountry, parsePhoneNumberFromString } from 'libphonenumber-js/min';

/** What one text may cost: the library takes some 50 µs for a number, and whoever wrote the text says how many there are. */
const MAX_QUESTIONS = 500;

/** What is known of telephone numbers for the length of one text. */
export class PhoneNumbers {
  readonly #countries: readonly CountryCode[];
  readonly #callingCode: string | undefined;
  #questions = 0;

  /** @param countries ISO 3166; the first one is at home here */
  constructor(countries: readonly string[]) {
    this.#countries = countries.filter(isCountry);
    const [home] = this.#countries;
    this.#callingCode = home && getCountryCallingCode(home);
  }

  /** What a number is compared by, without extension: in the form of E.164, as far as that can be told from its digits. */
  canonical(text: string): string {
    const digits = text.replace(/\D/g, '');
    if (text.startsWith('+')) return `+${digits}`;
    if (digits.startsWith('00')) return `+${digits.slice(2)}`;
    if (this.#callingCode === undefined) return digits;
    if (this.#callingCode === '1' && digits.length === 11 && digits.startsWith('1')) return `+${digits}`;
    return `+${this.#callingCode}${digits.replace(/^0/, '')}`;
  }

  /** Whether a number without a country's code is given out at home; where a text asks too often, any could be. */
  isGivenOut(text: string): boolean {
    this.#questions += this.#countries.length;
    if (this.#questions > MAX_QUESTIONS) return this.#countries.length > 0;
    return this.#countries.some((defaultCountry) => {
      return parsePhoneNumberFromString(text, { defaultCountry, extract: false })?.isValid() === true;
    });
  }
}

function isCountry(country: string): country is CountryCode {
  return isSupportedCountry(country);
}
