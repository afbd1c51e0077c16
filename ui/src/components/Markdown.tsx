import Parser from 'markdown-to-jsx/react';

interface LinkProps {
  href?: string;
  children?: React.ReactNode;
}

/** Leads away from the interface, which is told nothing of where it came from. */
function Away({ href, children }: LinkProps) {
  return (
    <a href={href} target="_blank" rel="noreferrer noopener">
      {children}
    </a>
  );
}

/** What somebody wrote, in Markdown. HTML in it is text, and pictures are the words that stand for them. */
export function Markdown({ text }: { text: string }) {
  return (
    <div className="markdown wrap-anywhere">
      <Parser
        options={{
          disableParsingRawHTML: true,
          wrapper: 'div',
          forceWrapper: true,
          overrides: {
            a: { component: Away },
            img: { component: ({ alt }: { alt?: string }) => <>{alt}</> },
          },
        }}
      >
        {text}
      </Parser>
    </div>
  );
}
