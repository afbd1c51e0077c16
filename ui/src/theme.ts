import { createTheme, type MantineColorsTuple } from '@mantine/core';

const accent: MantineColorsTuple = [
  ...(['#eef3fe', '#dbe5fb', '#b5c9f5', '#8cabf0', '#6a91eb'] as const),
  ...(['#4a7ae4', '#2b5fd9', '#224fb9', '#1d439c', '#173680'] as const),
];

/** As blue as the surfaces of styles.css: Mantine takes text, lines and inputs of the dark scheme from it. */
const dark: MantineColorsTuple = [
  ...(['#d5dbe4', '#b9c1cd', '#97a1af', '#6d7785', '#3a424e'] as const),
  ...(['#2d343f', '#20252d', '#1b1f26', '#14171c', '#0e1115'] as const),
];

const system = '-apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif';
const mono = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';

/** Dense and plain: small radii, 13 px text; colour is kept for states (styles.css). */
export const theme = createTheme({
  primaryColor: 'accent',
  primaryShade: 6,
  colors: { accent, dark },
  fontFamily: system,
  fontFamilyMonospace: mono,
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.125rem' },
  headings: {
    fontFamily: system,
    fontWeight: '600',
    sizes: { h1: { fontSize: '1.25rem', lineHeight: '1.3' }, h2: { fontSize: '0.9375rem', lineHeight: '1.4' } },
  },
  defaultRadius: 'sm',
  autoContrast: true,
  respectReducedMotion: true,
  components: {
    Alert: {
      vars: (_: unknown, { color }: { color?: string }) => {
        const tone = { red: 'bad', yellow: 'warn', gray: 'idle' }[color ?? ''] ?? 'busy';
        return { root: { '--alert-bg': `var(--${tone}-bg)`, '--alert-color': `var(--${tone}-fg)` } };
      },
    },
    Modal: {
      styles: { title: { fontWeight: 600, fontSize: '0.9375rem' } },
      defaultProps: { closeButtonProps: { 'aria-label': 'Close' } },
    },
    // What it takes the focus with, for the first key, is no menu item to assistive technology.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false } },
    NavLink: { vars: () => ({ root: { '--nl-bg': 'var(--busy-bg)', '--nl-color': 'var(--busy-fg)' }, children: {} }) },
    Button: { defaultProps: { size: 'xs' } },
    TextInput: { defaultProps: { size: 'sm' } },
    Select: { defaultProps: { size: 'sm' } },
    Textarea: { defaultProps: { size: 'sm' } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true } },
    ActionIcon: { defaultProps: { variant: 'subtle', color: 'gray' } },
    Skeleton: { defaultProps: { radius: 'sm' } },
  },
});
