import { Fragment } from 'react';

/** A name that may be broken behind its dots, hyphens and underscores, and elsewhere only where it must. */
export function Name({ children }: { children: string | undefined }) {
  return (
    <span className="wrap-anywhere">
      {children?.split(/(?<=[._-])/).map((part, index) => (
        <Fragment key={index}>
          {index ? <wbr /> : null}
          {part}
        </Fragment>
      ))}
    </span>
  );
}
