import { Checkbox } from '@mantine/core';
import { IconChevronDown, IconChevronUp, IconSelector } from '@tabler/icons-react';
import {
  rowSelectionFeature,
  tableFeatures,
  useTable,
  type ColumnDef,
  type RowSelectionState,
  type Updater,
} from '@tanstack/react-table';
import type { ReactNode } from 'react';

interface Meta {
  /** CSS classes of the column's cells; "wide" leaves it out on narrow screens. */
  className?: string;
  /** With it, the header sorts: what the server calls the column. */
  sort?: string;
}

const features = tableFeatures({ rowSelectionFeature, columnMeta: {} as Meta });
export type Column<Row extends object> = ColumnDef<typeof features, Row>;

interface Props<Row extends object> {
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  rowId: (row: Row) => string;
  /** With it, rows can be chosen. Ids of the chosen rows. */
  /** What the rows are sorted by, as the server calls it: a column, or a column with " desc". */
  order?: { by: string; onChange: (by: string) => void };
  selection?: { chosen: RowSelectionState; onChange: (updater: Updater<RowSelectionState>) => void };
}

const NOTHING_CHOSEN: RowSelectionState = {};
const ignore = () => undefined;

/** A table of one page of rows; sorting, filtering and paging are the server's. */
export function DataTable<Row extends object>({ label, columns, rows, rowId, selection, order }: Props<Row>) {
  const table = useTable({
    features,
    columns,
    data: rows,
    getRowId: rowId,
    enableRowSelection: selection !== undefined,
    state: { rowSelection: selection?.chosen ?? NOTHING_CHOSEN },
    onRowSelectionChange: selection?.onChange ?? ignore,
  });
  return (
    <div className="table-scroll" tabIndex={0} role="region" aria-label={label}>
      <table className="table" aria-label={label}>
        <thead>
          {table.getHeaderGroups().map((group) => (
            <tr key={group.id}>
              {selection ? (
                <th className="tight">
                  <Checkbox
                    size="xs"
                    aria-label="Choose all rows of this page"
                    checked={table.getIsAllRowsSelected()}
                    indeterminate={table.getIsSomeRowsSelected()}
                    onChange={table.getToggleAllRowsSelectedHandler()}
                  />
                </th>
              ) : null}
              {group.headers.map((header) => (
                <th
                  key={header.id}
                  className={header.column.columnDef.meta?.className}
                  aria-sort={direction(order?.by, header.column.columnDef.meta?.sort)}
                >
                  {order && header.column.columnDef.meta?.sort ? (
                    <Sorter by={header.column.columnDef.meta.sort} order={order}>
                      <table.FlexRender header={header} />
                    </Sorter>
                  ) : (
                    <table.FlexRender header={header} />
                  )}
                </th>
              ))}
            </tr>
          ))}
        </thead>
        <tbody>
          {table.getRowModel().rows.map((row) => (
            <tr key={row.id}>
              {selection ? (
                <td className="tight">
                  <Checkbox
                    size="xs"
                    aria-label={`Choose ${row.id}`}
                    checked={row.getIsSelected()}
                    onChange={row.getToggleSelectedHandler()}
                  />
                </td>
              ) : null}
              {row.getAllCells().map((cell) => (
                <td key={cell.id} className={cell.column.columnDef.meta?.className}>
                  <table.FlexRender cell={cell} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function direction(by: string | undefined, column: string | undefined): 'ascending' | 'descending' | undefined {
  if (column === undefined) return undefined;
  if (by === column) return 'ascending';
  return by === `${column} desc` ? 'descending' : undefined;
}

interface SorterProps {
  by: string;
  order: { by: string; onChange: (by: string) => void };
  children: ReactNode;
}

/** A header that sorts by its column, and the other way round when it does already. */
function Sorter({ by, order, children }: SorterProps) {
  const sorted = direction(order.by, by);
  const Icon = sorted === 'ascending' ? IconChevronUp : sorted ? IconChevronDown : IconSelector;
  return (
    <button
      type="button"
      className="sorter"
      onClick={() => {
        order.onChange(sorted === 'ascending' ? `${by} desc` : by);
      }}
    >
      {children}
      <Icon size={13} aria-hidden />
    </button>
  );
}
