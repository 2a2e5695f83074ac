"""What is asked of every figure."""

from matplotlib.backends.backend_agg import FigureCanvasAgg

from coala_jax.reporting import style


def all_text_is_inside(figure):
    with style.styled():
        figure.draw_without_rendering()
        renderer = FigureCanvasAgg(figure).get_renderer()
        box = figure.get_tightbbox(renderer)  # inches
    width, height = figure.get_size_inches()
    return box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
